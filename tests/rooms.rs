//! The table of rooms in `src/lib.rs` is true: each room imports what its row says and nothing else, and no row names one below.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

struct Room {
    name: String,
    uses: BTreeSet<String>,
}

/// The rows of the table, in their order.
fn table() -> Vec<Room> {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | ")).filter(|row| row.contains('`'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[0].split('`').nth(1).expect("a room's name stands in backticks");
        let uses = cells[2].split(", ").filter(|used| !used.is_empty()).map(String::from).collect();
        Room { name: name.into(), uses }
    })
    .collect()
}

/// The sources of a room: a file, a folder, or both.
fn sources(room: &str) -> Vec<PathBuf> {
    let mut files = vec![Path::new("src").join(format!("{room}.rs"))];
    let mut folders = vec![Path::new("src").join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| file.extension().is_some_and(|e| e == "rs") && file.exists());
    files
}

/// What stands after each `crate::` of a source, up to the end of its group of imports, without comments and tests.
fn imports(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = code.split("#[cfg(all(test").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    code.split("crate::").skip(1).flat_map(names).collect()
}

/// The first names of an import: of `{a::b, c}` it is `a` and `c`.
fn names(import: &str) -> Vec<String> {
    let first = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let Some(group) = import.strip_prefix('{') else { return vec![first(import)] };
    let (mut depth, mut names, mut expected) = (0, Vec::new(), true);
    for (i, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            c if expected && !c.is_whitespace() => {
                names.push(first(&group[i..]));
                expected = false;
            }
            _ => {}
        }
    }
    names
}

/// The room that a name at the crate's root is from.
fn room_of(name: &str) -> &str {
    match name {
        "Config" => "config",
        "Weights" => "weights",
        "Error" | "Result" => "error",
        "Engine" | "EngineOptions" | "Session" => "engine",
        "Tokenizer" => "tokenizer",
        "Source" => "source",
        "Scheduler" => "scheduler",
        name => name,
    }
}

#[test]
fn every_room_uses_what_its_row_says() {
    let table = table();
    assert!(table.len() > 15, "the table has {} rows", table.len());
    for room in &table {
        let sources = sources(&room.name);
        assert!(!sources.is_empty(), "{} has no sources", room.name);
        let imports = sources.iter().flat_map(|file| imports(&fs::read_to_string(file).unwrap()));
        let mut found: BTreeSet<String> = imports.map(|name| room_of(&name).to_string()).collect();
        found.remove(&room.name);
        assert_eq!(found, room.uses, "what {} imports, against its row", room.name);
    }
}

#[test]
fn no_row_names_a_room_below() {
    let table = table();
    for (i, room) in table.iter().enumerate() {
        for used in &room.uses {
            let is_above = table[..i].iter().any(|above| above.name == *used);
            assert!(is_above, "{} uses {used}, which is not above it", room.name);
        }
    }
}

#[test]
fn the_table_lists_every_room() {
    let listed: BTreeSet<String> = table().into_iter().map(|room| room.name).collect();
    for line in fs::read_to_string("src/lib.rs").unwrap().lines() {
        let module = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        if let Some(module) = module.map(|module| module.trim_end_matches(';')) {
            assert!(listed.contains(module), "{module} is in no row");
        }
    }
}

#[test]
fn imports_are_read_whole() {
    let source = "use crate::{Config, a::{b, c},\n    d};\nlet x = crate::e::f();\n// crate::g\n";
    assert_eq!(imports(source), ["Config", "a", "d", "e"]);
}
