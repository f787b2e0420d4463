//! Templates that were written to do harm: each ends soon, in an error or a text.

use super::{tokenizer, write};
use halfwarp::chat::Template;
use serde_json::json;
use std::time::{Duration, Instant};

/// Longest that one may take, both writings together.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Memory that it may take beyond the process's own.
const MEMORY_MAX: u64 = 256 << 20;

fn hostile() -> Vec<(&'static str, String)> {
    let doubled =
        "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
    let text =
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    vec![
        ("a namespace in itself", "{% set n = namespace() %}{% set n.x = n %}{{ n }}\n".into()),
        ("a namespace in itself, as text", "{% set n = namespace() %}{% set n.x = n %}{{ n | string }}\n".into()),
        ("a namespace in itself, joined", "{% set n = namespace() %}{% set n.x = n %}{{ n ~ '' }}\n".into()),
        ("a namespace in itself, as JSON", "{% set n = namespace() %}{% set n.x = [n] %}{{ n | tojson }}\n".into()),
        ("a namespace in itself, compared", "{% set n = namespace() %}{% set n.x = n %}{% set m = namespace() %}{% set m.x = m %}{{ n == m }}{{ n < m }}\n".into()),
        ("a namespace in itself, as a key", "{% set n = namespace() %}{% set n.x = n %}{{ {n: 1} }}\n".into()),
        ("nested lists", format!("{{{{ {}{} }}}}\n", "[".repeat(50_000), "]".repeat(50_000))),
        ("nested brackets", format!("{{{{ {}1{} }}}}\n", "(".repeat(50_000), ")".repeat(50_000))),
        ("not", format!("{{{{ {}1 }}}}\n", "not ".repeat(30_000))),
        ("minus", format!("{{{{ {}1 }}}}\n", "-".repeat(125_000))),
        ("power", format!("{{{{ {}1 }}}}\n", "1**".repeat(40_000))),
        ("plus", format!("{{{{ 1{} }}}}\n", "+1".repeat(60_000))),
        ("and", format!("{{{{ 1{} }}}}\n", " and 1".repeat(20_000))),
        ("attributes", format!("{{{{ a{} }}}}\n", ".a".repeat(60_000))),
        ("filters", format!("{{{{ a{} }}}}\n", "|e".repeat(60_000))),
        ("conditions", format!("{{{{ {}1 }}}}\n", "1 if 1 else ".repeat(10_000))),
        ("blocks", "{% if 1 %}".repeat(10_000) + &"{% endif %}".repeat(2_000)),
        ("else", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000))),
        ("formats", format!("{{{{ {}1 }}}}\n", "'%s' % ".repeat(15_000))),
        ("brackets of formats", format!("{{{{ {}1{} }}}}\n", "'%s' % (".repeat(12_000), ")".repeat(12_000))),
        ("macros that call themselves", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}\n".into()),
        ("macros that call each other", "{% macro f(n) %}{{ g(n) }}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}\n".into()),
        ("a list of lists, written", format!("{doubled}{{{{ ns.x }}}}\n")),
        ("a list of lists, as text", format!("{doubled}{{{{ ns.x | string | length }}}}\n")),
        ("a list of lists, joined", format!("{doubled}{{{{ (ns.x ~ '') | length }}}}\n")),
        ("a list of lists, as JSON", format!("{doubled}{{{{ ns.x | tojson | length }}}}\n")),
        ("a list of lists, compared", format!("{doubled}{{% set a = ns.x %}}{doubled}{{{{ a == ns.x }}}}\n")),
        ("a list of lists, as a key", format!("{doubled}{{{{ {{ns.x: 1}} | length }}}}\n")),
        ("a list of lists, unique", format!("{doubled}{{{{ [ns.x, ns.x] | unique | list | length }}}}\n")),
        ("a list of lists, sorted", format!("{doubled}{{% set a = ns.x %}}{doubled}{{{{ [a, ns.x] | sort | length }}}}\n")),
        ("a list of lists, in a format", format!("{doubled}{{{{ '%s' % [ns.x] }}}}{{{{ '{{}}'.format(ns.x) }}}}\n")),
        ("a text of texts", format!("{text}{{{{ ns.x | length }}}}\n")),
        ("a text, times", "{{ ('a' * 99999999) | length }}\n".into()),
        ("a text, replaced", "{{ ('a' * 60000) | replace('a', 'a' * 60000) | length }}\n".into()),
        ("a text, replaced by a method", "{{ ('a' * 60000).replace('a', 'a' * 60000) | length }}\n".into()),
        ("a text, joined", "{{ ('a' * 60000).join(['b'] * 60000) | length }}\n".into()),
        ("a text, joined by a filter", "{{ range(60000) | join('a' * 60000) | length }}\n".into()),
        ("a text, split", "{{ ('a' * 9999999).split('a') | length }}\n".into()),
        ("a text, indented", "{{ ('\n' * 60000) | indent(60000) | length }}\n".into()),
        ("a wide field", "{{ '{:>1000000000}'.format(1) }}\n".into()),
        ("a wide field of printf", "{{ '%1000000000d' % 1 }}{{ '%1000000000d' | format(1) }}\n".into()),
        ("a wide field by argument", "{{ '%*d' % (1000000000, 1) }}\n".into()),
        ("a wide field by nesting", "{{ '{:>{}}'.format(1, 1000000000) }}\n".into()),
        ("loops in loops", "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}\n".into()),
        ("ranges that are lazy", "{{ range(100000) | map('string') | join | length }}{{ range(100000) | list | length }}\n".into()),
        ("lists that are lazy", "{% set ns = namespace(x=range(1000)) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}\n".into()),
        ("chains that are lazy", "{% set ns = namespace(x=range(1000)) %}{% for i in range(60) %}{% set ns.x = ns.x | chain(ns.x) %}{% endfor %}{{ ns.x | list | length }}\n".into()),
        ("maps that are lazy", "{% set ns = namespace(x=range(1000)) %}{% for i in range(2000) %}{% set ns.x = ns.x | map('string') %}{% endfor %}{{ ns.x | list | length }}\n".into()),
        ("a power", "{{ 9 ** 9 ** 9 }}{{ 10 ** 38 * 10 ** 38 }}\n".into()),
        ("a date", format!("{{{{ strftime_now('{}') }}}}\n", "%+".repeat(50_000))),
        ("padding", "{{ 'a'.center(999999999) }}{{ 'a'.ljust(999999999) }}{{ '1'.zfill(999999999) }}\n".into()),
    ]
}

/// Peak memory of this process, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[test]
fn a_hostile_template_ends_soon() {
    let (tokenizer, before) = (tokenizer(), peak());
    let messages = [json!({"role": "user", "content": "a"})];
    for (name, text) in hostile() {
        let (started, peak_before) = (Instant::now(), peak());
        assert!(text.len() < 128 << 10, "{name} would be refused for its length");
        let written = Template::given(&text, None).and_then(|t| write(&t, &messages, &tokenizer));
        let (time, memory) = (started.elapsed(), peak().saturating_sub(peak_before));
        println!(
            "{name:35} {time:9.1?} {:5} MiB, {} bytes",
            memory >> 20,
            written.map_or(0, |text| text.len())
        );
        assert!(time < TIME_MAX, "{name} took {time:?}");
        assert!(peak().saturating_sub(before) < MEMORY_MAX, "{name} took {} MiB", memory >> 20);
    }
}
