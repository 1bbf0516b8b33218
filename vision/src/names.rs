//! The names of parameters on disk. Files of all versions of transformers use the first style, including those that version 5 writes. The
//! second style is that of its modules, which other programs write.

use crate::config::MllamaConfig;

/// The position of each text layer among all text layers.
pub(crate) struct LayerNumbers {
    /// For each layer of the language model: its index among all layers.
    pub own: Vec<usize>,
    /// For each cross-attention layer: its index among all layers, and the number of preceding layers of the language model.
    pub cross: Vec<(usize, usize)>,
}

impl LayerNumbers {
    pub fn new(config: &MllamaConfig) -> Self {
        let all = config.text.num_hidden_layers + config.cross_layers.len();
        let own: Vec<usize> = (0..all).filter(|number| !config.cross_layers.contains(number)).collect();
        let cross = config.cross_layers.iter().enumerate().map(|(before, &number)| (number, number - before)).collect();
        Self { own, cross }
    }

    /// The name on disk of the language model's parameter `name`.
    pub fn text(&self, name: &str) -> String {
        if let Some(rest) = name.strip_prefix("model.layers.")
            && let Some((number, rest)) = rest.split_once('.')
            && let Some(number) = number.parse::<usize>().ok().and_then(|number| self.own.get(number))
        {
            return format!("language_model.model.layers.{number}.{rest}");
        }
        format!("language_model.{name}")
    }
}

/// Converts a name of the first style into the second.
pub(crate) fn second_style(name: &str) -> String {
    match (name.strip_prefix("language_model.model."), name.strip_prefix("language_model.")) {
        (Some(rest), _) => format!("model.language_model.{rest}"),
        (None, Some(rest)) => rest.to_owned(),
        (None, None) => format!("model.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_styles() {
        let numbers = LayerNumbers { own: vec![0, 2, 4], cross: vec![(1, 1), (3, 2)] };
        for (alone, first, second) in [
            ("lm_head.weight", "language_model.lm_head.weight", "lm_head.weight"),
            ("model.norm.weight", "language_model.model.norm.weight", "model.language_model.norm.weight"),
            (
                "model.layers.1.mlp.up_proj.weight",
                "language_model.model.layers.2.mlp.up_proj.weight",
                "model.language_model.layers.2.mlp.up_proj.weight",
            ),
        ] {
            assert_eq!(numbers.text(alone), first);
            assert_eq!(second_style(first), second);
        }
        assert_eq!(second_style("vision_model.class_embedding"), "model.vision_model.class_embedding");
    }
}
