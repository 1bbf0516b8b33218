//! The reward model: training, scoring, calibration.

mod calibration;
mod data;
mod group;
mod loss;
mod model;
mod objective;
mod score;
mod serve;
mod train;

pub use calibration::{Bin, Calibration};
pub use group::Group;
pub use loss::{margins, ranked_pairs, ranking_loss_sum};
pub use model::RewardModel;
pub use score::{Args as ScoreArgs, run as score};
pub use serve::{Args as ServeArgs, run as serve};
pub use train::{Args as TrainArgs, Config, run as train};
