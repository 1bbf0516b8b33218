//! The attacks. Most classes combine two lists: every text of `how` with every text of `what`.

mod compiled;
mod isolation;
pub mod others;
mod resources;
mod tricks;

/// A hostile program with its language, class and name.
pub struct Attack {
    pub language: &'static str,
    pub class: &'static str,
    pub name: String,
    pub code: String,
}

/// All attacks in Python.
pub fn all() -> Vec<Attack> {
    [resources::all(), isolation::all(), tricks::all()].concat_all()
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Attack>;
}

impl<const N: usize> ConcatAll for [Vec<Attack>; N] {
    fn concat_all(self) -> Vec<Attack> {
        self.into_iter().flatten().collect()
    }
}

/// One Python attack for each pair: a text of `how` in which `@` is replaced by a text of `what`.
fn product(class: &'static str, how: &[&str], what: &[&str]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (i, how) in how.iter().enumerate() {
        for (j, what) in what.iter().enumerate() {
            attacks.push(Attack {
                language: "python",
                class,
                name: format!("{class}-{i}-{j}"),
                code: how.replace('@', what),
            });
        }
    }
    attacks
}
