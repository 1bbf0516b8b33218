//! The figures of an evaluation, task by task.

use std::collections::BTreeMap;

use serde::Serialize;
use stats::{Estimate, proportion};

use super::Item;

/// The figures of a task.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The task; `all` for all tasks together.
    pub task: String,
    /// Number of questions.
    pub items: usize,
    /// Accuracy with the picture.
    pub right: Estimate,
    /// Accuracy with the picture of another question.
    pub other_picture: Option<Estimate>,
    /// Accuracy of the language model alone, without a picture.
    pub no_picture: Estimate,
    /// Accuracy of a model that was trained with other pictures.
    pub blind: Option<Estimate>,
    /// Accuracy of always giving the most frequent right answer.
    pub majority: Estimate,
    /// Accuracy of guessing, if the records state the number of answers.
    pub chance: Option<f64>,
}

/// The figures of each task, and of all tasks if there are several.
#[must_use]
pub fn rows(items: &[Item]) -> Vec<Row> {
    let mut tasks: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    items.iter().for_each(|item| tasks.entry(&item.task).or_default().push(item));
    let mut rows: Vec<Row> = tasks.iter().map(|(task, items)| row(task, items)).collect();
    if rows.len() > 1 {
        let majority = tasks.values().map(|items| most(items)).sum();
        let mut all = row("all", &items.iter().collect::<Vec<_>>());
        // The most frequent answer is counted by task.
        all.majority = proportion(majority, items.len());
        rows.push(all);
    }
    rows
}

fn row(task: &str, items: &[&Item]) -> Row {
    let share =
        |found: &dyn Fn(&Item) -> bool| proportion(items.iter().filter(|item| found(item)).count(), items.len());
    let of = |found: &dyn Fn(&Item) -> Option<bool>| {
        let known: Vec<bool> = items.iter().filter_map(|item| found(item)).collect();
        (!known.is_empty()).then(|| proportion(known.iter().filter(|right| **right).count(), known.len()))
    };
    let choices: Option<Vec<usize>> = items.iter().map(|item| item.choices.filter(|choices| *choices > 0)).collect();
    Row {
        task: task.to_owned(),
        items: items.len(),
        right: share(&|item| item.right),
        other_picture: of(&|item| item.other_picture),
        no_picture: share(&|item| item.no_picture),
        blind: of(&|item| item.blind),
        majority: proportion(most(items), items.len()),
        chance: choices.map(|all| all.iter().map(|choices| 1.0 / *choices as f64).sum::<f64>() / items.len() as f64),
    }
}

/// The number of items for which the most frequent answer is right.
fn most(items: &[&Item]) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    items.iter().for_each(|item| *counts.entry(&item.answer).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// The figures as a table, with 95% intervals.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut table = vec![
        ["task", "n", "right", "other picture", "no picture", "trained blind", "majority", "chance"].map(str::to_owned),
    ];
    let maybe = |estimate: &Option<Estimate>| estimate.as_ref().map_or("-".to_owned(), Estimate::percent);
    for row in rows {
        table.push([
            row.task.clone(),
            row.items.to_string(),
            row.right.percent(),
            maybe(&row.other_picture),
            row.no_picture.percent(),
            maybe(&row.blind),
            row.majority.percent(),
            row.chance.map_or("-".to_owned(), |chance| format!("{:.1}%", 100.0 * chance)),
        ]);
    }
    let widths: Vec<usize> =
        (0..8).map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(task: &str, answer: &str, right: bool, other: Option<bool>) -> Item {
        Item {
            id: String::new(),
            task: task.into(),
            answer: answer.into(),
            choices: Some(if task == "colour" { 4 } else { 2 }),
            right,
            other_picture: other,
            no_picture: false,
            blind: None,
        }
    }

    #[test]
    fn figures_stand_beside_what_needs_no_looking() {
        let items = [
            item("colour", "red", true, Some(false)),
            item("colour", "red", true, Some(true)),
            item("colour", "blue", false, None),
            item("there", "yes", true, Some(true)),
            item("there", "no", false, Some(true)),
        ];
        let rows = rows(&items);
        let names: Vec<(&str, usize)> = rows.iter().map(|row| (row.task.as_str(), row.items)).collect();
        assert_eq!(names, [("colour", 3), ("there", 2), ("all", 5)]);
        assert_eq!((rows[0].right.value, rows[0].majority.value), (2.0 / 3.0, 2.0 / 3.0));
        let other = rows[0].other_picture.unwrap();
        assert_eq!((other.value, other.items), (0.5, 2));
        assert_eq!((rows[0].chance, rows[2].chance), (Some(0.25), Some((0.25 * 3.0 + 0.5 * 2.0) / 5.0)));
        assert_eq!((rows[2].right.value, rows[2].majority.value), (0.6, 0.6));
        let text = text(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("task    n  right"), "{text}");
        assert!(lines[1].contains("66.7% [20.8, 93.9]") && lines[1].ends_with("25.0%"), "{text}");
    }
}
