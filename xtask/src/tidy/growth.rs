//! What a crate shows to others and what may grow: settings, errors and numbers.

use crate::tidy::Complaint;
use crate::tidy::files::TextFile;
use crate::tidy::purity::names;

/// How the names of settings end.
const SETTINGS: [&str; 2] = ["Config", "Limits"];
/// And those of snapshots of counters.
const NUMBERS: &str = "Stats";
const MARK: &str = "#[non_exhaustive]";

/// Complaints about the public types of a library crate, by line. Those with `pub` fields only: what has none, nobody else can make or
/// take apart.
pub(super) fn check(file: &TextFile, code: &str) -> Vec<Complaint> {
    let is_library = file.path.starts_with("crates/") && file.path.contains("/src/");
    let types = shown(code).filter(|_| is_library);
    types
        .flat_map(|shown| {
            let line = code[..shown.at].matches('\n').count() + 1;
            let complaints = shown.complaints(code).into_iter();
            complaints.map(move |what| Complaint::new(file, line, what))
        })
        .collect()
}

/// A type that others see.
struct Shown<'a> {
    at: usize,
    is_enum: bool,
    name: &'a str,
    /// What stands between it and the item before it.
    attributes: &'a str,
    fields: Vec<&'a str>,
}

/// Those that are declared at the left margin, and so are in no module within the file.
fn shown(code: &str) -> impl Iterator<Item = Shown<'_>> {
    [("pub enum ", true), ("pub struct ", false)]
        .into_iter()
        .flat_map(move |(start, is_enum)| {
            let starts = code.match_indices(start);
            let at_margin = starts.filter(|(at, _)| code[..*at].ends_with('\n'));
            at_margin.map(move |(at, _)| Shown::read(code, at, start, is_enum))
        })
}

impl<'a> Shown<'a> {
    fn read(code: &'a str, at: usize, start: &str, is_enum: bool) -> Self {
        let rest = &code[at + start.len()..];
        let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
        let name = &rest[..rest.find(|sign| !is_word(sign)).unwrap_or(rest.len())];
        let ends = ["\n}\n", ";\n"].map(|end| code[..at].rfind(end));
        let before = ends.into_iter().flatten().max().unwrap_or(0);
        let has_fields = !is_enum && rest.lines().next().is_some_and(|line| line.ends_with('{'));
        let body = &rest[..rest.find("\n}").filter(|_| has_fields).unwrap_or(0)];
        let fields = body.lines().filter_map(|line| {
            let (field, _) = line.strip_prefix("    pub ")?.split_once(':')?;
            Some(field)
        });
        Self {
            at,
            is_enum,
            name,
            attributes: &code[before..at],
            fields: fields.collect(),
        }
    }

    fn complaints(&self, code: &str) -> Vec<String> {
        let is_error = self.is_enum && names(self.attributes, "Error");
        let is_settings = SETTINGS.iter().any(|end| self.name.ends_with(end));
        let is_told = is_settings || self.name.ends_with(NUMBERS);
        let may_grow = is_error || is_told && !self.fields.is_empty();
        let is_marked = self.attributes.contains(MARK);
        let unmarked =
            (may_grow && !is_marked).then(|| format!("`{}` may grow: `{MARK}`", self.name));
        let settings = self.fields.iter().filter(move |_| is_settings);
        // What has no default is said where they are made.
        let ways = |field: &str| [format!("fn with_{field}("), format!("({field}: ")];
        let fixed = settings.filter(|field| !ways(field).iter().any(|way| code.contains(way)));
        let unset =
            fixed.map(|field| format!("`{}::{field}` is set by no `with_{field}`", self.name));
        unmarked.into_iter().chain(unset).collect()
    }
}
