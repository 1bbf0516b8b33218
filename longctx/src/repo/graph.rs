//! The import graph of the given files.
//!
//! `import a.b` imports the file of the module `a.b`. `from a import n` imports the file of `a.n` if that module exists, otherwise the
//! file of `a`. Importing a module does not count as importing the packages around it, except in [`Graph::broken_without`].

use std::collections::{BTreeMap, BTreeSet};

use super::load::SourceFile;
use super::python::{Facts, Import, When};

/// The import graph; files are numbered.
#[derive(Debug)]
pub struct Graph {
    /// For each file, the files that it imports, with the earliest time of the import.
    pub imports: Vec<BTreeMap<usize, When>>,
    /// For each file, the packages that contain its module.
    around: Vec<Vec<usize>>,
    modules: BTreeMap<String, usize>,
}

impl Graph {
    /// Builds the graph from files and their parsed facts.
    #[must_use]
    pub fn new(files: &[&SourceFile], facts: &[&Facts]) -> Self {
        let modules: BTreeMap<String, usize> =
            files.iter().enumerate().map(|(at, file)| (file.module.clone(), at)).collect();
        let around = |file: &SourceFile| {
            let dots = file.module.match_indices('.').map(|(at, _)| at);
            dots.filter_map(|at| modules.get(&file.module[..at]).copied()).collect()
        };
        let mut graph = Self { imports: Vec::new(), around: files.iter().map(|file| around(file)).collect(), modules };
        for (file, facts) in files.iter().zip(facts) {
            let mut targets: BTreeMap<usize, When> = BTreeMap::new();
            for import in &facts.imports {
                for (target, _) in graph.targets(file, import) {
                    let when = targets.entry(target).or_insert(import.when);
                    *when = (*when).min(import.when);
                }
            }
            // An import of the file itself (`from . import name` in an `__init__.py`) is no dependency.
            targets.remove(&graph.modules[&file.module]);
            graph.imports.push(targets);
        }
        graph
    }

    /// The files that a statement imports, each with the name imported from it, if any.
    #[must_use]
    pub fn targets<'i>(&self, file: &SourceFile, import: &'i Import) -> Vec<(usize, Option<&'i str>)> {
        let Some(module) = absolute(file, import) else { return Vec::new() };
        let file_of = |name: &str| self.modules.get(name).copied();
        match &import.names {
            None => file_of(&module).map(|at| (at, None)).into_iter().collect(),
            Some(names) => {
                let one = |name: &'i String| {
                    let below = if module.is_empty() { name.clone() } else { format!("{module}.{name}") };
                    match file_of(&below) {
                        Some(at) => Some((at, None)),
                        None => file_of(&module).map(|at| (at, Some(name.as_str()))),
                    }
                };
                names.iter().filter_map(one).collect()
            }
        }
    }

    /// The files that import this one.
    #[must_use]
    pub fn importers(&self, file: usize) -> BTreeSet<usize> {
        (0..self.imports.len()).filter(|other| self.imports[*other].contains_key(&file)).collect()
    }

    /// The files that import this one, directly or through others; without the file itself.
    #[must_use]
    pub fn dependents(&self, file: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut next = vec![file];
        while let Some(at) = next.pop() {
            next.extend(self.importers(at).into_iter().filter(|other| found.insert(*other)));
        }
        found.remove(&file);
        found
    }

    /// The files that cannot be imported without this one: an import that runs when the module is imported leads to it, directly or
    /// through others. Importing a module also runs the packages around it. Imports that run under a condition ([`When::Maybe`]) count
    /// only with `maybe`.
    #[must_use]
    pub fn broken_without(&self, file: usize, maybe: bool) -> BTreeSet<usize> {
        let runs = |when: When| when == When::Always || maybe && when == When::Maybe;
        let mut broken = BTreeSet::from([file]);
        loop {
            let is_broken = |at: usize| {
                let targets = self.imports[at].iter().filter(|(_, when)| runs(**when)).map(|(target, _)| *target);
                let mut needed = targets.flat_map(|target| self.around[target].iter().copied().chain([target]));
                needed.any(|target| target != at && broken.contains(&target))
                    || self.around[at].iter().any(|package| broken.contains(package))
            };
            let more: Vec<usize> =
                (0..self.imports.len()).filter(|at| !broken.contains(at) && is_broken(*at)).collect();
            if more.is_empty() {
                broken.remove(&file);
                return broken;
            }
            broken.extend(more);
        }
    }
}

/// The absolute name of the module in a statement. `None` if there are more leading dots than packages.
fn absolute(file: &SourceFile, import: &Import) -> Option<String> {
    if import.level == 0 {
        return Some(import.module.clone());
    }
    let mut parts: Vec<&str> = file.module.split('.').collect();
    let up = import.level - usize::from(file.is_package());
    let kept = parts.len().checked_sub(up)?;
    parts.truncate(kept);
    if parts.is_empty() {
        return None;
    }
    if !import.module.is_empty() {
        parts.push(&import.module);
    }
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::load::module_of;
    use crate::repo::python::Reader;

    struct Files(Vec<SourceFile>, Vec<Facts>);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let mut reader = Reader::new().unwrap();
            let facts = files.iter().map(|(_, text)| reader.read(text).unwrap()).collect();
            let of = |(path, text): &(&str, &str)| SourceFile {
                path: (*path).into(),
                module: module_of(path),
                text: (*text).into(),
            };
            Self(files.iter().map(of).collect(), facts)
        }

        fn graph(&self) -> Graph {
            Graph::new(&self.0.iter().collect::<Vec<_>>(), &self.1.iter().collect::<Vec<_>>())
        }

        fn names(&self, numbers: BTreeSet<usize>) -> Vec<&str> {
            numbers.into_iter().map(|at| self.0[at].path.as_str()).collect()
        }
    }

    #[test]
    fn imports_are_resolved_as_python_does() {
        let files = Files::new(&[
            ("p/__init__.py", "from .core import Thing\nfrom . import util"),
            ("p/core.py", "import p.util as u\nimport os"),
            ("p/util.py", ""),
            ("p/sub/__init__.py", "from ..core import Thing"),
            ("p/sub/deep.py", "from .. import util, core\nfrom . import *\nfrom ...x import y"),
            ("p/user.py", "def f():\n    from p import Thing\n"),
            ("ns/part.py", "from p.sub import deep"),
            ("ns/other.py", "from ns import part\nimport p.sub.deep.nothing"),
        ]);
        let graph = files.graph();
        let importers = |at: usize| files.names(graph.importers(at));
        assert_eq!(importers(0), ["p/user.py"]);
        assert_eq!(importers(1), ["p/__init__.py", "p/sub/__init__.py", "p/sub/deep.py"]);
        assert_eq!(importers(2), ["p/__init__.py", "p/core.py", "p/sub/deep.py"]);
        assert_eq!(importers(3), ["p/sub/deep.py"]);
        assert_eq!(importers(4), ["ns/part.py"]);
        assert_eq!(importers(6), ["ns/other.py"]);
        assert_eq!(files.names(graph.dependents(4)), ["ns/part.py", "ns/other.py"]);
        assert_eq!(files.names(graph.dependents(0)), ["p/user.py"]);
    }

    #[test]
    fn what_breaks_when_a_file_goes() {
        let files = Files::new(&[
            ("p/__init__.py", "from .a import x"),
            ("p/a.py", "from .b import y"),
            ("p/b.py", ""),
            ("q/one.py", "import p.c"),
            ("q/two.py", "def f():\n    import p.b\n"),
            ("q/three.py", "if TYPE_CHECKING:\n    import p.b\ntry:\n    import p.b\nexcept ImportError:\n    pass\n"),
            ("p/c.py", ""),
        ]);
        let graph = files.graph();
        // The package itself breaks, and with it every file that imports one of its modules.
        assert_eq!(files.names(graph.broken_without(2, false)), ["p/__init__.py", "p/a.py", "q/one.py", "p/c.py"]);
        let maybe = files.names(graph.broken_without(2, true));
        assert_eq!(maybe, ["p/__init__.py", "p/a.py", "q/one.py", "q/three.py", "p/c.py"]);
        assert_eq!(files.names(graph.broken_without(6, false)), ["q/one.py"]);
    }
}
