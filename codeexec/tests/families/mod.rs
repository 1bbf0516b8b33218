//! The attacks, in families: each class is the product of two lists, of actions and of methods.

mod compiled;
mod isolation;
pub mod others;
mod resources;
mod tricks;

/// A hostile program.
pub struct Attack {
    pub language: &'static str,
    pub class: &'static str,
    pub name: String,
    pub code: String,
}

/// All attacks.
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

/// One attack for each pair; `@` in `how` is replaced by `what`.
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
