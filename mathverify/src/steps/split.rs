//! Splits a solution into steps: its paragraphs, or its lines if it has no empty line.

/// Splits a solution into steps: at empty lines or, if it has none, at newlines. A displayed formula is not split, and
/// in a text without empty lines it stays in the step of the line before it.
///
/// ```
/// let steps = mathverify::split_steps("First, 2 + 3 = 5.\n\\[\n5 \\cdot 2 = 10\n\\]\nSo 10.");
/// assert_eq!(steps.len(), 2);
/// assert_eq!(steps[1], "So 10.");
/// ```
#[must_use]
pub fn split(solution: &str) -> Vec<String> {
    let paragraphs = solution.contains("\n\n");
    let mut steps: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut open = 0_i64;
    for line in solution.lines() {
        let empty = line.trim().is_empty();
        let count = |mark: &str| i64::try_from(line.matches(mark).count()).unwrap_or(0);
        let starts_display = line.trim_start().starts_with("\\[");
        let ends = open <= 0 && if paragraphs { empty } else { !starts_display };
        if ends && !current.trim().is_empty() {
            steps.push(std::mem::take(&mut current).trim().to_owned());
        }
        if !empty {
            current.push_str(line);
            current.push('\n');
        }
        open += count("\\[") + count("\\begin{") - count("\\]") - count("\\end{");
    }
    if !current.trim().is_empty() {
        steps.push(current.trim().to_owned());
    }
    steps
}
