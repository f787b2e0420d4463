//! halfwarp.h is what cbindgen makes of the sources, says something about every item, and declares what the library exports.
//!
//! After a change: `HALFWARP_WRITE_HEADER=1 cargo test -p halfwarp-capi --test header` writes it.

mod common;

use common::{libraries, ok, package, run, skipped};
use std::{collections::BTreeSet, fs};

/// In the order of the header.
const SOURCES: [&str; 8] =
    ["types.rs", "library.rs", "engine.rs", "text.rs", "chat.rs", "session.rs", "generate.rs", "decode.rs"];

fn committed() -> String {
    fs::read_to_string(package().join("include/halfwarp.h")).expect("the header is there")
}

#[test]
fn the_committed_header_is_that_of_the_sources() {
    let config =
        cbindgen::Config::from_file(package().join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let sources = SOURCES.iter().map(|name| package().join("src").join(name));
    let builder = sources.fold(cbindgen::Builder::new().with_config(config), |b, path| b.with_src(path));
    let mut header = Vec::new();
    builder.generate().expect("the sources can be read").write(&mut header);
    let header = String::from_utf8(header).expect("the header is UTF-8");
    if std::env::var_os("HALFWARP_WRITE_HEADER").is_some_and(|v| v == "1") {
        fs::write(package().join("include/halfwarp.h"), &header).expect("the header can be written");
    }
    let committed = committed();
    let line = header.lines().zip(committed.lines()).position(|(new, old)| new != old);
    assert!(
        header == committed,
        "halfwarp.h differs from the sources at line {:?}: run HALFWARP_WRITE_HEADER=1 cargo test -p halfwarp-capi --test header",
        line.map(|i| i + 1)
    );
}

#[test]
fn every_item_of_the_header_is_documented() {
    let header = committed();
    let (mut before, mut n_items) = ("", 0);
    for line in header.lines().map(str::trim) {
        let is_field = line.ends_with(';') && !line.starts_with(['}', ')']) && !before.ends_with(',');
        let is_constant = line.starts_with("#define HW_") || line.starts_with("HW_");
        let is_type = ["typedef ", "enum "].iter().any(|word| line.starts_with(word)) && line.ends_with('{');
        let is_function = line.starts_with("hw_status ") || line.starts_with("const char *hw_");
        if is_field || is_constant || is_type || is_function {
            n_items += 1;
            // The typedef after an enum is the enum's own.
            let is_enums =
                ["typedef int32_t hw_", "typedef enum hw_"].iter().any(|start| line.starts_with(start));
            let is_documented = before.starts_with("///") || is_enums;
            assert!(is_documented, "{line:?} comes after {before:?}");
        }
        before = if line.is_empty() { before } else { line };
    }
    assert!(n_items > 100, "{n_items} items");
}

#[test]
fn the_header_is_cplusplus_too() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let source = folder.path().join("header.cpp");
    let compile = |text: &str| {
        std::fs::write(&source, text).expect("the folder can be written to");
        let include = package().join("include").into_os_string();
        let flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"]
            .map(Into::into);
        run("cc", flags.into_iter().chain([include, source.clone().into()]))
    };
    if !compile("int main() { return 0; }\n").is_some_and(|output| output.status.success()) {
        skipped::<()>("the header in C++", "cc cannot compile C++");
        return;
    }
    let text = "#include <halfwarp.h>\nint main() { hw_status ok = hw_session_free(0); return ok == HW_OK ? HW_NTS == 0 : 1; }\n";
    ok(&compile(text).expect("cc was there a moment ago"));
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let Some(output) = run("nm", ["-D".into(), "--defined-only".into(), libraries().join("libhalfwarp.so")])
    else {
        skipped::<()>("the exported symbols", "nm is missing");
        return;
    };
    let symbols = ok(&output);
    let exported: BTreeSet<_> = symbols.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    let header = committed();
    let declarations = header.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    let declared: BTreeSet<_> = declarations
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("hw_"))
        .collect();
    assert_eq!(exported, declared);
}
