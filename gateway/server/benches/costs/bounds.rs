//! The figures a case was measured at, and how far it may be from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What one repetition of a case costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Machine instructions.
    pub(crate) instructions: u64,
    /// Calls of the allocator that give memory.
    pub(crate) allocations: u64,
}

/// The file.
pub(crate) struct Bounds(BTreeMap<String, Costs>);

const HEAD: &str = "\
# What one repetition costs: case, instructions, allocations. See main.rs beside this file.
#
# More than a tenth above either figure fails: find out why, or write the new one in the change that
# accepts it. COSTS=write does the writing.
";

/// How much more a case may cost, in hundredths.
const MORE: u64 = 110;
/// How much less it may cost before the figure is out of date.
const LESS: u64 = 70;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/costs/bounds.txt")
}

impl Bounds {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let row = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [name, instructions, allocations] = words[..] else { panic!("bounds.txt: {line}") };
            let number = |text: &str| text.parse().unwrap_or_else(|why| panic!("{line}: {why}"));
            let costs =
                Costs { instructions: number(instructions), allocations: number(allocations) };
            (name.to_owned(), costs)
        };
        Self(lines.map(row).collect())
    }

    /// Why these costs are not in order, if they are not.
    pub(crate) fn judge(&self, name: &str, found: Costs) -> Result<(), String> {
        let Some(bound) = self.0.get(name) else { return Err("has no line in bounds.txt".into()) };
        for (what, found, bound) in [
            ("instructions", found.instructions, bound.instructions),
            ("allocations", found.allocations, bound.allocations),
        ] {
            if found * 100 > bound * MORE {
                return Err(format!("{what}: {found}, {bound} were stated"));
            }
            if found * 100 < bound * LESS {
                return Err(format!("{what}: only {found}; lower the {bound} that were stated"));
            }
        }
        Ok(())
    }

    /// The cases that have a line.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Forgets the lines of all other cases.
    pub(crate) fn keep(&mut self, known: &[&str]) {
        self.0.retain(|name, _| known.contains(&name.as_str()));
    }

    pub(crate) fn set(&mut self, name: &str, found: Costs) {
        self.0.insert(name.to_owned(), found);
    }

    pub(crate) fn write(&self) {
        let mut text = HEAD.to_owned();
        for (name, costs) in &self.0 {
            let _ = writeln!(text, "{name:<22}{:>12}{:>8}", costs.instructions, costs.allocations);
        }
        std::fs::write(path(), text).unwrap();
    }
}
