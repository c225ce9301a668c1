//! Writes the enum types of the tables as Rust: a GObject enum is a static type, so it cannot be read at run time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    #[serde(default, rename = "enum")]
    enums: Vec<Enum>,
}

#[derive(Deserialize)]
struct Enum {
    name: String,
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    value: i32,
    nick: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=tables");
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir("tables")? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let table: Table = toml::from_str(&fs::read_to_string(&path)?)?;
        tables.insert(stem, table.enums);
    }
    let (mut types, mut arms) = (String::new(), String::new());
    let mut count = 0;
    for (stem, enums) in &tables {
        for made in enums {
            // GObject type names allow letters, digits, `-`, `_` and `+`.
            let unique = format!("Standin-{}-{}", stem.replace('.', "_"), made.name);
            writeln!(types, "#[derive(Debug, Clone, Copy, PartialEq, Eq, glib::Enum)]")?;
            writeln!(types, "#[enum_type(name = {unique:?})]\n#[repr(i32)]\npub(crate) enum E{count} {{")?;
            writeln!(arms, "        ({stem:?}, {:?}) => match default {{", made.name)?;
            for (n, Value { value, nick }) in made.values.iter().enumerate() {
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
