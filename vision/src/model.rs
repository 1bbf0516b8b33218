//! The whole model: a language model, its cross-attention layers, the vision tower and the projector between them.

use llama::attention::Attend;
use llama::{Linear, Llama, Pass};
use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::config::{EXTRA_ROWS, MllamaConfig};
use crate::cross::{CrossLayer, through};
use crate::names::LayerNumbers;
use crate::pixels::Pixels;
use crate::sight::{Sight, States};
use crate::tower::Tower;

/// A language model with vision.
pub struct Mllama {
    config: MllamaConfig,
    text: Llama,
    /// Embeddings of the ids after the vocabulary, `[8, hidden]`; the first is that of the image token.
    extra_rows: Tensor,
    /// The cross-attention layers, each with the number of preceding layers of the language model.
    cross: Vec<(usize, CrossLayer)>,
    projector: Linear,
    tower: Tower,
}

impl Mllama {
    /// Builds the model from parameters that `parameter(name, shape)` delivers, by their names on disk (first style).
    ///
    /// # Errors
    /// The errors of `parameter`.
    pub fn build<E>(
        config: MllamaConfig,
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let numbers = LayerNumbers::new(&config);
        let vocab = config.text.vocab_size;
        let mut extra_rows = None;
        let text = Llama::build(config.text.clone(), |name, shape| {
            if name != "model.embed_tokens.weight" {
                return parameter(&numbers.text(name), shape);
            }
            let table = parameter(&numbers.text(name), &[vocab + EXTRA_ROWS, config.text.hidden_size])?;
            // The table is split, so that the language model has its own.
            extra_rows = Some(table.narrow(0, vocab, EXTRA_ROWS).copy());
            Ok(table.narrow(0, 0, vocab))
        })?;
        // The language model always requests its embedding.
        let extra_rows = extra_rows.unwrap_or_else(Tensor::new);
        let cross = numbers.cross.iter().map(|&(number, before)| {
            let name = format!("language_model.model.layers.{number}");
            Ok((before, CrossLayer::build(&config.text, (name.as_str(), number), &mut parameter)?))
        });
        let cross = cross.collect::<Result<Vec<_>, E>>()?;
        let (width, hidden) = (config.tower.output_width(), config.text.hidden_size);
        let projector = Linear {
            weight: parameter("multi_modal_projector.weight", &[hidden, width])?,
            bias: Some(parameter("multi_modal_projector.bias", &[hidden])?),
            lora: None,
        };
        let tower = Tower::build(config.tower.clone(), &mut parameter)?;
        Ok(Self { config, text, extra_rows, cross, projector, tower })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &MllamaConfig {
        &self.config
    }

    /// The language model alone. It shares its weights with this model.
    #[must_use]
    pub fn text(&self) -> &Llama {
        &self.text
    }

    /// The vision tower.
    #[must_use]
    pub fn tower(&self) -> &Tower {
        &self.tower
    }

    /// The cross-attention layers, each with the number of preceding layers of the language model.
    #[must_use]
    pub fn cross_layers(&self) -> &[(usize, CrossLayer)] {
        &self.cross
    }

    /// The device of the model.
    #[must_use]
    pub fn device(&self) -> Device {
        self.text.device()
    }

    /// The keys and values of the cross-attention layers: the projected features of the pictures' tiles, without padding.
    ///
    /// # Errors
    /// When the pictures do not have the tower's size, or memory is not sufficient.
    pub fn states(&self, pixels: &Pixels) -> Result<States, OpError> {
        let features = self.tower.forward(pixels)?;
        self.project(&features, &pixels.tiles)
    }

    /// The same, from the tower's features `[pictures, tiles, places, width]` and the number of tiles of each picture.
    ///
    /// # Errors
    /// When shapes do not match, or memory is not sufficient.
    pub fn project(&self, features: &Tensor, tiles: &[i64]) -> Result<States, OpError> {
        catch(|| {
            let places = features.size4()?.2;
            let own = tiles.iter().enumerate();
            let own = own.map(|(i, &tiles)| features.get(i as i64).narrow(0, 0, tiles).flatten(0, 1));
            let flat = Tensor::cat(&own.collect::<Vec<_>>(), 0);
            let values = self.projector.forward(&flat, None)?;
            Ok(States { values, places: tiles.iter().map(|tiles| tiles * places).collect() })
        })
        .map_err(|error: OpError| error.context("projector"))
    }

    /// Embeddings `[rows, seq, hidden]` of ids of the vocabulary and of the eight after it.
    ///
    /// # Errors
    /// When an id is outside of both.
    pub fn embed(&self, input_ids: &Tensor) -> Result<Tensor, OpError> {
        let vocab = self.config.text.vocab_size;
        let extra = catch(|| Ok::<_, OpError>(input_ids.ge(vocab)))?;
        if !catch(|| Ok::<_, OpError>(extra.any().int64_value(&[]) != 0))? {
            return self.text.embed(input_ids);
        }
        let embedded = self.text.embed(&catch(|| Ok::<_, OpError>(input_ids.masked_fill(&extra, 0)))?)?;
        let ids = catch(|| Ok::<_, OpError>(input_ids.masked_select(&extra) - vocab))?;
        let rows = torch_ext::embedding(&self.extra_rows, &ids)
            .map_err(|error| error.context(format!("token ids, which must lie below {}", vocab + EXTRA_ROWS)))?;
        catch(|| {
            let places = extra.flatten(0, -1).nonzero().squeeze_dim(1);
            Ok(embedded.flatten(0, 1).index_copy(0, &places, &rows).view_as(&embedded))
        })
    }

    /// Final hidden states `[rows, seq, hidden]` (after the last norm) of `input_ids` at `position_ids`, both
    /// `[rows, seq]` int64. Without `sight` this is the language model's own pass.
    ///
    /// # Errors
    /// The same as [`Llama::hidden_states`].
    pub fn hidden_states(
        &self,
        input_ids: &Tensor,
        position_ids: &Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
        sight: Option<&Sight>,
    ) -> Result<Tensor, OpError> {
        let Some(sight) = sight else { return self.text.hidden_states(input_ids, position_ids, attend, pass) };
        through(&self.text, &self.cross, self.embed(input_ids)?, position_ids, (attend, pass), sight)
    }

    /// All parameters by their names on disk (first style). The tensors are shared with the model, except for the embedding, which is
    /// joined from the language model's table and the additional rows.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let numbers = LayerNumbers::new(&self.config);
        let whole = |name: &str, tensor: Tensor| match name {
            "model.embed_tokens.weight" => Tensor::cat(&[tensor.detach(), self.extra_rows.detach()], 0),
            _ => tensor,
        };
        let text = self.text.named_parameters().into_iter();
        let mut all: Vec<_> = text.map(|(name, tensor)| (numbers.text(&name), whole(&name, tensor))).collect();
        all.extend(self.cross.iter().flat_map(|(_, layer)| layer.named_parameters()));
        all.push(("multi_modal_projector.weight".to_owned(), self.projector.weight.shallow_clone()));
        if let Some(bias) = &self.projector.bias {
            all.push(("multi_modal_projector.bias".to_owned(), bias.shallow_clone()));
        }
        all.extend(self.tower.named_parameters());
        all
    }

    /// The data type of the model.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.text.kind()
    }
}
