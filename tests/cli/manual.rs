//! `halfwarp completions` and `halfwarp man`.

use super::harness::run;

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = run(&format!("completions {shell}")).ok();
        assert!(text.contains("halfwarp") && text.contains("generate"), "{shell}");
    }
    run("completions tcsh").fails(2, &["tcsh"]);
}

#[test]
fn man_pages_are_roff_with_the_options() {
    let page = run("man").ok();
    assert!(page.contains(".TH halfwarp") && page.contains("generate"), "{page}");
    let page = run("man generate").ok();
    assert!(page.contains(".SH OPTIONS") && page.contains("temperature"));
    run("man nothing").fails(1, &["nothing"]);
}
