//! Writes the enum types of the tables as Rust: a GObject enum is a static type, so it cannot be read at run time.
//!
//! It reads what the tables' writers write, one key a line, and not all of TOML, so it needs no other crate.

use std::fmt::Write as _;
use std::{env, fs, path::Path};

/// A value and its nick.
type Value = (i32, String);

/// The text between the first pair of quotes after `key = `.
fn quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(&format!("{key} = \""))?.1.split('"').next()
}

/// The enums of a table: name and values.
fn enums(text: &str) -> Result<Vec<(String, Vec<Value>)>, String> {
    let mut found: Vec<(String, Vec<Value>)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("[[") {
            inside = line == "[[enum]]";
        } else if inside && line.starts_with("name = ") {
            found.push((quoted(line, "name").ok_or(line)?.to_owned(), Vec::new()));
        } else if inside && line.starts_with("values = ") {
            let values = &mut found.last_mut().ok_or(line)?.1;
            for part in line.split('{').skip(1) {
                let number = part.split_once("value = ").and_then(|(_, rest)| rest.split(',').next());
                let value = number.and_then(|number| number.trim().parse().ok()).ok_or(part)?;
                values.push((value, quoted(part, "nick").ok_or(part)?.to_owned()));
            }
        }
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=tables");
    println!("cargo::rerun-if-changed=build.rs");
    let mut paths: Vec<_> =
        fs::read_dir("tables")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let (mut types, mut arms, mut count) = (String::new(), String::new(), 0);
    for path in paths {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        for (name, values) in enums(&fs::read_to_string(&path)?)? {
            // GObject type names allow letters, digits, `-`, `_` and `+`.
            let unique = format!("Standin-{}-{name}", stem.replace('.', "_"));
            writeln!(types, "#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]")?;
            writeln!(types, "#[enum_type(name = {unique:?})]\n#[repr(i32)]\npub(crate) enum E{count} {{")?;
            writeln!(arms, "        ({stem:?}, {name:?}) => match default {{")?;
            for (n, (value, nick)) in values.iter().enumerate() {
                writeln!(types, "    #[enum_value(name = {nick:?}, nick = {nick:?})]\n    V{n} = {value},")?;
                writeln!(arms, "            {value} => Some(spec!(name, E{count}::V{n}, flags)),")?;
            }
            writeln!(types, "}}\n")?;
            writeln!(arms, "            _ => None,\n        }},")?;
            count += 1;
        }
    }
    let text = format!(
        "{types}\n/// The spec of an enum property of a table; none where table, type or default are unknown.\n\
         pub(crate) fn enum_spec(table: &str, kind: &str, name: &str, default: i32, flags: glib::ParamFlags) \
         -> Option<glib::ParamSpec> {{\n    match (table, kind) {{\n{arms}        _ => None,\n    }}\n}}\n"
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("enums.rs"), text)?;
    Ok(())
}
