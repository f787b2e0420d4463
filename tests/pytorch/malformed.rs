//! Files that lie, that hold anything but tensors, or that are no checkpoint: each is an error that names file, record or tensor.

use super::*;
use proptest::prelude::*;
use pytorch::{Record, ints};
use std::time::{Duration, Instant};

/// What opening this file says, mapped and read alike.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let folder = folder(bytes);
    let path = folder.path().join("pytorch_model.bin");
    let started = Instant::now();
    let [mapped, read] = [false, true].map(|read| {
        let options = LoadOptions { read, ..LoadOptions::default() };
        let outcome = Source::Folder(folder.path().into()).weights(&options);
        outcome.map(|_| ()).expect_err("it must be refused").to_string()
    });
    assert!(started.elapsed() < Duration::from_secs(10), "refusing took {:?}", started.elapsed());
    assert_eq!(mapped, read, "mapping and reading refuse alike");
    assert!(mapped.contains(path.to_str().unwrap()), "{mapped:?} does not name the file");
    mapped
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is missing in {text:?}"));
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
}

/// A checkpoint with the tensor `w`, `[2, 3]`, in storage 0 of 24 bytes, after a change of what its pickle is.
fn with_root(root: P) -> Vec<u8> {
    archive(&records(root.pickle(2), &[vec![0; 24]]))
}

fn with_tensor(value: P) -> Vec<u8> {
    with_root(P::Dict(vec![(text("w"), value)]))
}

fn with_pickle(opcodes: &[u8]) -> Vec<u8> {
    archive(&records([b"\x80\x02", opcodes].concat(), &[vec![0; 24]]))
}

/// The checkpoint after a change of its records.
fn with_records(change: impl FnOnce(&mut Vec<Record>)) -> Vec<u8> {
    let dict = P::Dict(vec![(text("w"), tensor(floats(6), 0, &[2, 3], &[3, 1]))]);
    let mut records = records(dict.pickle(2), &[vec![0; 24], vec![0; 24]]);
    change(&mut records);
    archive(&records)
}

fn floats(numel: i64) -> P {
    storage("FloatStorage", "0", numel)
}

#[test]
fn tensors_that_contradict_their_storage_are_named() {
    let view = |offset, size: &[i64], strides: &[i64]| tensor(floats(6), offset, size, strides);
    let big = i64::MAX;
    for (claim, value, words) in [
        ("longer", view(0, &[3, 3], &[3, 1]), &["[3, 3]", "the 6 elements of its storage"][..]),
        ("offset", view(1, &[2, 3], &[3, 1]), &["offset 1", "the 6 elements"]),
        ("strides", view(0, &[2, 3], &[4, 1]), &["strides [4, 1]", "the 6 elements"]),
        ("huge stride", view(0, &[2, 3], &[big, big]), &["the 6 elements"]),
        ("huge offset", view(big, &[2, 3], &[3, 1]), &["the 6 elements"]),
        ("offset of nothing", view(7, &[0], &[1]), &["offset 7", "the 6 elements"]),
        ("huge size", view(0, &[big, big], &[0, 0]), &["overflows"]),
        ("negative size", view(0, &[-2, 3], &[3, 1]), &["-2 among its sizes", "whole numbers"]),
        ("negative stride", view(0, &[2, 3], &[-3, 1]), &["-3 among its strides", "whole numbers"]),
        ("negative offset", view(-1, &[2, 3], &[3, 1]), &["offset", "whole number"]),
        ("fewer strides", view(0, &[2, 3], &[1]), &["1 strides, expected 2"]),
        ("dimensions", view(0, &[1; 9], &[1; 9]), &["9 dimensions, expected 8"]),
        (
            "repeated elements",
            view(0, &[1 << 20, 1 << 20], &[0, 0]),
            &["copies", "bytes", "the file at most"],
        ),
        (
            "numel",
            tensor(floats(7), 0, &[2, 3], &[3, 1]),
            &["storage 0 of 24 bytes, expected 7 elements of F32"],
        ),
        (
            "class",
            tensor(storage("LongStorage", "0", 6), 0, &[2, 3], &[3, 1]),
            &["24 bytes, expected 6 elements of I64"],
        ),
        ("negative numel", tensor(floats(-6), 0, &[2, 3], &[3, 1]), &["expected -6 elements"]),
        ("huge numel", tensor(floats(big), 0, &[2, 3], &[3, 1]), &["expected 9223372036854775807 elements"]),
        (
            "no record",
            tensor(storage("FloatStorage", "9", 6), 0, &[2, 3], &[3, 1]),
            &["storage 9, which is not in"],
        ),
        (
            "path",
            tensor(storage("FloatStorage", "../data.pkl", 6), 0, &[2], &[1]),
            &["storage ../data.pkl, which is not in"],
        ),
        (
            "described",
            tensor(P::Persistent(Box::new(text("x"))), 0, &[1], &[1]),
            &["not described as PyTorch"],
        ),
        ("no storage", tensor(P::Int(3), 0, &[1], &[1]), &["not described as PyTorch"]),
        (
            "arguments",
            call("torch._utils", "_rebuild_tensor_v2", vec![floats(6)]),
            &["made of 1 values, expected 6"],
        ),
        ("a number", P::Int(5), &["is an integer, expected a tensor"]),
        ("a list", P::List(vec![P::Float(0.5)]), &["is a list, expected a tensor"]),
        (
            "a training checkpoint",
            P::Dict(vec![]),
            &["is a dict, expected a tensor", "save the state dict alone"],
        ),
        ("a class", P::Global("torch", "FloatStorage"), &["is a class or function, expected a tensor"]),
        ("a storage", floats(6), &["is a storage, expected a tensor"]),
    ] {
        let text = refusal(&with_tensor(value));
        assert_says(&text, &[&["tensor w"], words].concat());
        println!("{claim}: {text}");
    }
}

#[test]
fn flags_and_hooks_that_change_a_tensor_are_refused() {
    let args = |hooks: P, more: Option<P>| {
        let mut args = vec![floats(6), P::Int(0), ints(&[2, 3]), ints(&[3, 1]), P::Bool(false), hooks];
        args.extend(more);
        with_tensor(call("torch._utils", "_rebuild_tensor_v2", args))
    };
    let set = P::Dict(vec![(text("neg"), P::Bool(true))]);
    for bytes in [args(set.clone(), None), args(ordered(vec![]), Some(set))] {
        assert_says(&refusal(&bytes), &["tensor w has hooks or flags"]);
    }
}

#[test]
fn what_is_no_dict_of_tensors_is_refused() {
    let two = [0, 1].map(|_| (text("w"), tensor(floats(6), 0, &[2, 3], &[3, 1])));
    let cyclic = b"}q\x00X\x01\x00\x00\x00wh\x00s.";
    for (bytes, words) in [
        (with_root(P::Dict(two.to_vec())), &["tensor w", "twice"][..]),
        (with_root(P::Dict(vec![(P::Int(1), P::None)])), &["record data.pkl holds an integer as a key"]),
        (with_root(P::Dict(vec![(ints(&[]), P::None)])), &["holds a tuple as a key"]),
        (with_root(P::List(vec![])), &["holds a list, expected a dict"]),
        (with_root(P::Int(1)), &["holds an integer"]),
        (with_root(floats(6)), &["holds a storage"]),
        (with_pickle(cyclic), &["tensor w is a dict"]),
    ] {
        assert_says(&refusal(&bytes), words);
    }
    let name = format!("evil\x1b[2J\n{}", "x".repeat(100_000));
    let text = refusal(&with_root(P::Dict(vec![(text(&name), P::None)])));
    assert_says(&text, &["tensor evil\\u{1b}[2J\\nxxx", "characters) is None"]);
}

#[test]
fn nothing_but_tensors_may_be_named() {
    for (module, name, what) in [
        ("os", "system", "an object of Python's (os.system)"),
        ("builtins", "eval", "(builtins.eval)"),
        ("posix", "system", "(posix.system)"),
        ("__builtin__", "getattr", "(__builtin__.getattr)"),
        ("collections", "Counter", "(collections.Counter)"),
        ("argparse", "Namespace", "(argparse.Namespace)"),
        ("numpy.core.multiarray", "_reconstruct", "(numpy.core.multiarray._reconstruct)"),
        ("torch._utils", "_rebuild_sparse_tensor", "a sparse or nested tensor"),
        ("torch._utils", "_rebuild_qtensor", "a quantised tensor"),
        ("torch._utils", "_rebuild_tensor_v3", "(torch._utils._rebuild_tensor_v3)"),
        ("torch", "QInt8Storage", "a quantised tensor"),
        ("torch", "ComplexFloatStorage", "a complex tensor"),
        ("torch", "load", "an object of PyTorch's (torch.load)"),
        ("torch.nn.modules.linear", "Linear", "(torch.nn.modules.linear.Linear)"),
        ("evil\x1b[2J", "x", "evil\\u{1b}[2J"),
    ] {
        let value = call(module, name, vec![text("true")]);
        for protocol in [2, 4] {
            let pickle = P::Dict(vec![(text("w"), value.clone())]).pickle(protocol);
            let text = refusal(&archive(&records(pickle, &[vec![0; 24]])));
            let entry = if protocol == 2 { "tensor w: found" } else { "found" };
            assert_says(&text, &["the pickle is refused", entry, what, "nothing is run", "at byte "]);
        }
    }
}

#[test]
fn pickles_that_are_malformed_say_where() {
    for (opcodes, words) in [
        (&b""[..], &["ends before its STOP"][..]),
        (b"}", &["ends before its STOP"]),
        (b"K", &["ends before its STOP"]),
        (b".", &["takes 1 values from a stack that has 0"]),
        (b"}(.", &["takes 1 values from a stack that has 0"]),
        (b"}}.", &["1 values are left over"]),
        (b"}.}", &["1 bytes follow the end"]),
        (b"}s.", &["takes 2 values"]),
        (b"}Ks.", &["1 values are left over"]),
        (b"}(K\x01u.", &["a key without a value"]),
        (b"u.", &["goes back to a mark"]),
        (b"](K\x01u.", &["sets a key"]),
        (b"]K\x01K\x02s.", &["of what is no dict"]),
        (b"}K\x01a.", &["appends to what is no list"]),
        (b"K\x01K\x02a.", &["fills a container, and there is none"]),
        (b")R.", &["takes 1 values from a stack that has 0"]),
        (b"))R.", &["calls what is no function"]),
        (b")Nb.", &["sets attributes of what is no dict"]),
        (b"h\x05.", &["recalls value 5, which was not remembered"]),
        (b"j\xff\xff\xff\xff.", &["recalls value 4294967295"]),
        (b"q\x00.", &["takes 1 values from a stack that has 0"]),
        (b"X\xff\xff\xff\xffx.", &["ends inside a string of 4294967295 bytes"]),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", &["ends inside a string"]),
        (b"X\x01\x00\x00\x00\xff.", &["not UTF-8"]),
        (b"cos", &["ends inside a name"]),
        (b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f.", &["an integer of 9 bytes, expected 8"]),
        (b"i.", &["opcode 0x69"]),
        (b"o.", &["opcode 0x6f"]),
        (b"\x81.", &["opcode 0x81"]),
        (b"\x82\x01.", &["opcode 0x82"]),
        (b"\x80\x01}.", &["the protocol is 1, expected 2 to 5"]),
        (b"P0\n.", &["opcode 0x50"]),
    ] {
        assert_says(&refusal(&with_pickle(opcodes)), words);
    }
}

#[test]
fn pickles_cannot_grow_without_bound() {
    let million =
        |opcodes: &[u8]| [b"]q\x00".as_slice(), &opcodes.repeat((5 << 20) / opcodes.len())].concat();
    for opcodes in [&b"}"[..], b"h\x00", b"(", b")", b"]\x94", b"\x94", b"h\x00h\x00\x86"] {
        assert_says(&refusal(&with_pickle(&million(opcodes))), &["holds more than 2097152 values"]);
    }
    // Nested as deep as that allows.
    let deep = [vec![b')'], vec![0x85; 1 << 20], vec![b'.']].concat();
    assert_says(&refusal(&with_pickle(&deep)), &["holds a tuple"]);
    let text = refusal(&with_pickle(&vec![b'}'; (16 << 20) + 1]));
    assert_says(&text, &["record data.pkl has 16777219 bytes, the limit is 16777216"]);
}

#[test]
fn records_that_lie_are_named() {
    for (claim, bytes, words) in [
        ("compressed", with_records(|r| r[2].method = 8), &["record archive/data/0", "compressed"][..]),
        ("encrypted", with_records(|r| r[2].flags = 1), &["record archive/data/0 is encrypted"]),
        ("sizes", with_records(|r| r[2].full_size = Some(25)), &["has 25 bytes, of which 24 are stored"]),
        (
            "beyond the file",
            with_records(|r| (r[2].size, r[2].full_size) = (Some(1 << 30), Some(1 << 30))),
            &["record archive/data/0", "1073741824 bytes"],
        ),
        (
            "place",
            with_records(|r| r[2].offset = Some(1 << 30)),
            &["record archive/data/0", "from 1073741824 on"],
        ),
        ("no header there", with_records(|r| r[2].offset = Some(3)), &["record archive/data/0", "from 3 on"]),
        (
            "another's place",
            with_records(|r| r[2].offset = Some(0)),
            &["record archive/data/0", "another name where it is stored"],
        ),
        ("other name", with_records(|r| r[2].local_name = Some("archive/data/7".into())), &["another name"]),
        (
            "overlap",
            with_records(|r| (r[2].size, r[2].full_size) = (Some(150), Some(150))),
            &["record data/1 begins at byte", "before record data/0 ends"],
        ),
        ("twice", with_records(|r| r[3].name = r[2].name.clone()), &["record data/0 is there twice"]),
        ("no folder", with_records(|r| r[2].name = "data0".into()), &["record data0 is in no folder"]),
        ("two folders", with_records(|r| r[2].name = "other/data/0".into()), &["folder \"other\""]),
        ("no pickle", with_records(|r| _ = r.remove(0)), &["record data.pkl is missing"]),
        (
            "big-endian",
            with_records(|r| r[1].data = b"big".to_vec()),
            &["record byteorder says big, expected little"],
        ),
        (
            "TorchScript",
            with_records(|r| r.push(Record::new("archive/constants.pkl", "x"))),
            &["a TorchScript program"],
        ),
    ] {
        let text = refusal(&bytes);
        assert_says(&text, words);
        println!("{claim}: {text}");
    }
}

#[test]
fn a_directory_that_counts_otherwise_is_refused() {
    let mut bytes = with_records(|_| ());
    let end = bytes.len() - 22;
    bytes[end + 8] += 1;
    bytes[end + 10] += 1;
    assert_says(&refusal(&bytes), &["the zip archive is malformed", "6 records", "says 7"]);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = fs::read("tests/pytorch/model/pytorch_model.bin").unwrap();
    let folder = folder(&bytes);
    for len in (0..bytes.len()).step_by(331) {
        fs::write(folder.path().join("pytorch_model.bin"), &bytes[..len]).unwrap();
        assert!(Weights::open(folder.path()).is_err(), "cut to {len} bytes");
    }
    assert_says(
        &refusal(&bytes[..bytes.len() - 30]),
        &["the zip archive is malformed", "truncated download?"],
    );
}

#[test]
fn files_of_other_kinds_say_what_they_are_and_what_to_do() {
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    assert_says(&refusal(legacy), &["a PyTorch file of before 1.6", "torch.save("]);
    assert_says(&refusal(&tar), &["a PyTorch file of before 1.6", "torch.save("]);
    assert_says(&refusal(b""), &["is empty, expected a checkpoint that PyTorch wrote"]);
    assert_says(&refusal(b"hello"), &["no zip archive"]);
    assert_says(&refusal(b"GGUF\x03\0\0\0"), &["a GGUF file"]);
    assert_says(&refusal(b"version https://git-lfs.github.com/spec/v1\n"), &["a Git LFS pointer"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any change to any few bytes is refused or gives a model.
    #[test]
    fn damaged_files_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = fs::read("tests/pytorch/model/pytorch_model.bin").unwrap();
        for (at, value) in edits {
            // The pickle and the directory, where nearly everything can go wrong.
            let pickle_or_directory = at.index(2 * 3000);
            let at = if pickle_or_directory < 3000 { pickle_or_directory } else { bytes.len() - (pickle_or_directory - 2999) };
            bytes[at] = value;
        }
        let folder = folder(&bytes);
        let _ = Weights::open(folder.path());
    }
}
