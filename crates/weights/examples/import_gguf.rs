//! Converts a GGUF file into a Hugging Face folder: `cargo run -p weights --example import_gguf -- FILE.gguf FOLDER
//! [f32|f16|bf16]`.

use std::path::PathBuf;
use std::time::Instant;

use weights::gguf::{self, Gguf};
use weights::{DType, SafetensorsWriter, WeightsError};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: import_gguf FILE.gguf FOLDER [f32|f16|bf16]");
        std::process::exit(1);
    };
    let dtype = match arguments.next().as_deref() {
        None => None,
        Some("f32") => Some(DType::F32),
        Some("f16") => Some(DType::F16),
        Some("bf16") => Some(DType::BF16),
        Some(other) => {
            eprintln!("{other} is not a type; f32, f16 and bf16 are");
            std::process::exit(1);
        }
    };
    if let Err(error) = import(&PathBuf::from(file), &PathBuf::from(folder), dtype) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn import(file: &std::path::Path, folder: &std::path::Path, dtype: Option<DType>) -> Result<(), WeightsError> {
    let start = Instant::now();
    let gguf = Gguf::open(file)?;
    let model = gguf::to_hf(&gguf)?;
    let dtype = dtype.unwrap_or(model.natural_dtype());
    let declared = model.tensors.iter().map(|tensor| (tensor.name.clone(), dtype, tensor.shape.clone())).collect();
    let mut writer = SafetensorsWriter::create(folder, declared)?;
    for tensor in &model.tensors {
        writer.write(&tensor.name, &tensor.bytes(dtype)?)?;
    }
    writer.finish()?;
    model.write_text_files(folder, dtype)?;
    println!("{} tensors as {dtype:?} in {:.1} s", model.tensors.len(), start.elapsed().as_secs_f64());
    Ok(())
}
