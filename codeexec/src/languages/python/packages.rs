//! The packages that programs may import, and the extra processor time for their first import.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::record::Job;

/// Packages besides the standard library, by import name, with the processor time in milliseconds that an import may
/// take: about twice the measured time. Packages with 0 are in the snapshot. This time depends on the machine, not on
/// the program, so it is added to the program's limit.
pub const PACKAGES: [(&str, u64); 36] = [
    ("attr", 300),
    ("bs4", 1200),
    ("charset_normalizer", 300),
    ("cloudpickle", 300),
    ("contourpy", 300),
    ("dateutil", 0),
    ("defusedxml", 500),
    ("fontTools", 1000),
    ("formulaic", 3000),
    ("html5lib", 800),
    ("jinja2", 1000),
    ("joblib", 1500),
    ("lxml", 800),
    ("markupsafe", 200),
    ("matplotlib", 3500),
    ("more_itertools", 500),
    ("mpmath", 1500),
    ("networkx", 3000),
    ("numpy", 0),
    ("openpyxl", 2000),
    ("packaging", 300),
    ("pandas", 0),
    ("patsy", 2000),
    ("PIL", 1000),
    ("pypdf", 2000),
    ("pyparsing", 1000),
    ("regex", 800),
    ("reportlab", 2000),
    ("scipy", 4000),
    ("seaborn", 9600),
    ("sklearn", 6000),
    ("sortedcontainers", 0),
    ("statsmodels", 8000),
    ("sympy", 4000),
    ("tabulate", 300),
    ("yaml", 600),
];

/// Extra processor time for a job: the sum over the [`PACKAGES`] that the program imports, plus the sum over those that
/// its tests import in the judge's interpreter.
pub fn import_time(job: &Job) -> Duration {
    let tests = job.tests.iter().filter_map(serde_json::Value::as_str);
    let of_judge: Vec<&str> = tests.chain(job.test.as_deref()).chain(job.setup.as_deref()).collect();
    let reference = job.reference.iter().map(|reference| reference.code.as_str());
    let program = cost(&mut [job.code.as_str()].into_iter());
    Duration::from_millis(program + cost(&mut of_judge.into_iter().chain(reference)))
}

fn cost(texts: &mut dyn Iterator<Item = &str>) -> u64 {
    let names: BTreeSet<&str> = texts.flat_map(str::lines).flat_map(imported).collect();
    PACKAGES.iter().filter(|(name, _)| names.contains(name)).map(|(_, cost)| cost).sum()
}

/// The packages that a line imports.
fn imported(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    let first = |text: &str| -> usize { text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()) };
    if let Some(rest) = line.strip_prefix("from ") {
        let rest = rest.trim_start();
        return vec![&rest[..first(rest)]];
    }
    let Some(rest) = line.strip_prefix("import ") else { return Vec::new() };
    rest.split(',').map(str::trim_start).map(|name| &name[..first(name)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_in_program_and_tests() {
        let mut job =
            Job::python("a", "import sympy.core as s, os\n    from scipy.stats import norm\n# import sklearn\n");
        assert_eq!(import_time(&job), Duration::from_millis(8000));
        job.test = Some("import sympy\nimport pandas as pd\n".into());
        assert_eq!(import_time(&job), Duration::from_millis(12_000));
        assert_eq!(import_time(&Job::python("b", "important = 1\nfrom_x = 2")), Duration::ZERO);
    }
}
