//! The only writer to standard output and standard error. Foreign text (names, paths, texts of servers) is shown and not obeyed.

use super::error::CliError;
use convscope_models::text::{escaped, is_obeyed, shortened};
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Maximum characters in a line of text. A longer one holds a name that nobody reads.
const LONGEST_LINE: usize = 2000;

/// Prints a result with a trailing newline. A closed pipe (`convscope models | head -1`) is not an error.
///
/// # Errors
/// [`CliError`] if standard output cannot be written.
pub fn print(text: impl Display) -> Result<(), CliError> {
    write_out(&shown(text.to_string().trim_end_matches('\n')))
}

/// Prints JSON text. Characters that a terminal obeys are escaped as JSON does.
///
/// # Errors
/// As [`print()`].
pub fn print_json(json: impl Display) -> Result<(), CliError> {
    write_out(&json_text(json))
}

/// JSON text with the characters that a terminal obeys escaped.
pub fn json_text(json: impl Display) -> String {
    let mut text = String::new();
    // Such characters occur within strings only, but for line ends.
    for c in json.to_string().chars() {
        if c != '\n' && is_obeyed(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
        } else {
            text.push(c);
        }
    }
    text
}

/// Prints a table for programs, such as CSV: lines of any length.
///
/// # Errors
/// As [`print()`].
pub fn print_table(text: &str) -> Result<(), CliError> {
    write_out(&text.trim_end_matches('\n').lines().map(escaped).collect::<Vec<_>>().join("\n"))
}

fn write_out(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(CliError::failure(format!("cannot write to standard output: {e}"))),
        _ => Ok(()),
    }
}

/// A line on standard error about the work. A closed one is no reason to stop.
pub fn status(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", one_line(text));
}

/// A remark on standard error.
pub fn note(text: impl Display) {
    status(format_args!("note: {text}"));
}

/// The reason for a failure on standard error.
pub fn error(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "error: {}", shown(&text.to_string()));
}

/// Text for a progress bar.
pub fn one_line(text: impl Display) -> String {
    escaped(&shortened(&text.to_string(), LONGEST_LINE)).into_owned()
}

/// Several lines, each escaped and of bounded length.
fn shown(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing prints but this file: what it escapes would be obeyed elsewhere.
    #[test]
    fn nothing_else_prints() {
        fn visit(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, found);
                } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("cli/terminal.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                    let writers = ["print!(", "println!(", "dbg!(", "stdout()", "stderr()"];
                    let prints = |line: &&str| writers.iter().any(|w| line.contains(w)) && !line.contains("use_stderr()");
                    found.extend(lines.filter(prints).map(|line| format!("{}: {line}", path.display())));
                }
            }
        }
        let mut found = Vec::new();
        for crate_ in ["viz", "models", "engine", "kernels"] {
            visit(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_).join("src"), &mut found);
        }
        assert_eq!(found, [""; 0], "use cli::terminal");
    }

    #[test]
    fn foreign_text_is_shown_and_not_obeyed() {
        assert_eq!(shown("two\nlines \u{1b}]52;c;eA==\u{7}"), "two\nlines \\u{1b}]52;c;eA==\\u{7}");
        assert_eq!(shown(&"x".repeat(3000)).chars().count(), LONGEST_LINE + 1);
        assert_eq!(one_line("a\nerror: b\u{202e}"), "a\\nerror: b\\u{202e}");
    }
}
