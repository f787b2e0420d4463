//! What a typed line of the REPL asks for.

/// The commands and their help, for `/help`.
pub const HELP: &str = concat!(
    "  TEXT                add TEXT to the text, on a line of its own, and go on\n",
    "   TEXT               with a space before it: right where the text stops\n",
    "  (an empty line)     go on\n",
    "  \"\"\"TEXT\"\"\"          several lines; a line that ends in a backslash goes on, too\n",
    "  //TEXT              text that begins with /\n",
    "  /set NAME VALUE     change a setting, or add to a list: /set top-p 0.9\n",
    "  /set NAME           put a setting back to its default\n",
    "  /set                show the settings\n",
    "  /show               show the settings, the context and the text\n",
    "  /save FILE          write the text to a new file; /save -f FILE replaces one\n",
    "  /load FILE          start from the text of a file\n",
    "  /reset              start a new text\n",
    "  /help, /?           show this\n",
    "  /exit, /quit, /bye  end, as Ctrl-D does\n",
    "Ctrl-C stops an answer. At the prompt, twice, it ends the session.",
);

/// The names of the commands, as Tab completes them.
pub const NAMES: [&str; 9] = ["/bye", "/exit", "/help", "/load", "/quit", "/reset", "/save", "/set", "/show"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Add this to the text and continue it.
    Text(String),
    /// List the commands.
    Help,
    /// Start a new text.
    Reset,
    /// Change a setting, to its default where there is no value; nothing shows them.
    Set(Option<(String, Option<String>)>),
    /// Show the settings, the context and the text.
    Show,
    /// Write the text to a file, which is there already only where it may be replaced.
    Save { path: String, replace: bool },
    /// Start from the text of a file.
    Load(String),
    /// End.
    Exit,
}

impl Command {
    /// Parses what was typed.
    pub fn parse(typed: &str) -> Result<Self, String> {
        if let Some(rest) = typed.strip_prefix("//") {
            return Ok(Self::Text(format!("/{rest}")));
        }
        if !typed.starts_with('/') {
            return Ok(Self::Text(unwrap(typed)));
        }
        // One space separates; further ones belong to the value, so that a stop string can begin with a space.
        let (name, rest) =
            typed.trim_end_matches(['\n', '\r']).split_once(' ').unwrap_or((typed.trim_end(), ""));
        let argument = Some(rest).filter(|rest| !rest.trim().is_empty());
        match (name, argument) {
            ("/help" | "/?", None) => Ok(Self::Help),
            ("/reset", None) => Ok(Self::Reset),
            ("/show", None) => Ok(Self::Show),
            ("/exit" | "/bye" | "/quit", None) => Ok(Self::Exit),
            ("/set", None) => Ok(Self::Set(None)),
            ("/set", Some(rest)) => {
                let (name, value) = match rest.trim_start().split_once(' ') {
                    Some((name, value)) if !value.is_empty() => (name, Some(value.to_string())),
                    _ => (rest.trim(), None),
                };
                Ok(Self::Set(Some((name.to_string(), value))))
            }
            ("/save" | "/load", None) | ("/save", Some("-f")) => {
                Err(format!("{name} needs the name of a file"))
            }
            ("/save", Some(rest)) => match rest.trim().strip_prefix("-f ") {
                Some(path) => Ok(Self::Save { path: path.trim().to_string(), replace: true }),
                None => Ok(Self::Save { path: rest.trim().to_string(), replace: false }),
            },
            ("/load", Some(path)) => Ok(Self::Load(path.trim().to_string())),
            ("/help" | "/?" | "/reset" | "/show" | "/exit" | "/bye" | "/quit", Some(rest)) => {
                Err(format!("{name} takes nothing, found {:?}", rest.trim()))
            }
            _ => Err(format!("there is no command {name}; /help lists them, and //TEXT is text")),
        }
    }
}

/// Whether `typed` is all, or goes on in the next line.
pub fn is_complete(typed: &str) -> bool {
    match typed.trim_start().strip_prefix("\"\"\"") {
        Some(block) => block.trim_end().ends_with("\"\"\""),
        None => !typed.ends_with('\\'),
    }
}

/// The text that was meant: a block without its quotes, lines without the backslashes that join them.
fn unwrap(typed: &str) -> String {
    let block =
        typed.trim_start().strip_prefix("\"\"\"").and_then(|block| block.trim_end().strip_suffix("\"\"\""));
    match block {
        Some(block) => {
            let block = block.strip_prefix('\n').unwrap_or(block);
            block.strip_suffix('\n').unwrap_or(block).to_string()
        }
        None => typed.replace("\\\n", "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_text() {
        let text = |s: &str| Ok(Command::Text(s.into()));
        assert_eq!(Command::parse("a /b"), text("a /b"));
        assert_eq!(Command::parse("//b"), text("/b"));
        assert_eq!(Command::parse(""), text(""));
        assert_eq!(Command::parse("/?"), Ok(Command::Help));
        assert_eq!(Command::parse("/bye "), Ok(Command::Exit));
        let save = |path: &str, replace| Ok(Command::Save { path: path.into(), replace });
        assert_eq!(Command::parse("/save  a b.txt "), save("a b.txt", false));
        assert_eq!(Command::parse("/save -f  a b.txt "), save("a b.txt", true));
        assert_eq!(Command::parse("/load a b.txt"), Ok(Command::Load("a b.txt".into())));
        assert!(Command::parse("/save -f").is_err() && Command::parse("/load").is_err());
        for bad in ["/save", "/foo", "/reset now", "/"] {
            assert!(Command::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn set_keeps_the_spaces_of_a_value() {
        let set =
            |name: &str, value: Option<&str>| Ok(Command::Set(Some((name.into(), value.map(String::from)))));
        assert_eq!(Command::parse("/set"), Ok(Command::Set(None)));
        assert_eq!(Command::parse("/set top-p"), set("top-p", None));
        assert_eq!(Command::parse("/set top-p 0.5"), set("top-p", Some("0.5")));
        assert_eq!(Command::parse("/set stop  The"), set("stop", Some(" The")));
    }

    #[test]
    fn text_of_several_lines_is_joined() {
        for (typed, text) in [
            ("\"\"\"a\nb\"\"\"", "a\nb"),
            ("\"\"\"\na\n\"\"\"", "a"),
            ("\"\"\"\"\"\"", ""),
            ("a\\\nb", "a\nb"),
            ("\"a\"", "\"a\""),
        ] {
            assert!(is_complete(typed), "{typed}");
            assert_eq!(Command::parse(typed), Ok(Command::Text(text.into())));
        }
        for part in ["\"\"\"", "\"\"\"a\nb", "a\\", "\"\"\"a\"\" "] {
            assert!(!is_complete(part), "{part}");
        }
    }
}
