//! Executes statements: DataFusion in this process, with a memory pool and a folder for spilled data. Each result is a table: a folder of
//! Parquet files with a new name every time, because DataFusion caches the files of a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

/// The minimum memory for each partition of a plan, in bytes: the memory that a spilling sort reserves for its merge, and as much again
/// for its rows.
pub const PARTITION: u64 = 8 << 20;
/// A sort-merge join is only planned with more than one partition.
const FEWEST: usize = 2;
/// Number of rows in a row group of a table.
const GROUP: usize = 1 << 17;

/// Executes statements and owns their tables.
pub struct Session {
    context: SessionContext,
    folder: PathBuf,
    tables: BTreeMap<String, PathBuf>,
    made: usize,
}

impl Session {
    /// Makes a session that keeps its tables in a folder. `memory` is the size of its pool in bytes.
    ///
    /// # Errors
    /// When the pool is too small for two partitions, or the folder cannot be made.
    pub fn new(memory: u64, threads: usize, folder: &Path) -> anyhow::Result<Self> {
        let most = (memory / PARTITION) as usize;
        anyhow::ensure!(
            most >= FEWEST,
            "a pool of {} MB is too small: give at least {} MB",
            memory >> 20,
            (PARTITION * FEWEST as u64) >> 20
        );
        let partitions = threads.clamp(FEWEST, most);
        let spill = folder.join("spill");
        std::fs::create_dir_all(&spill).with_context(|| format!("cannot create {}", spill.display()))?;
        let share = memory as usize / partitions;
        let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(if share < 32 << 20 {
            2048
        } else {
            8192
        });
        let options = config.options_mut();
        options.optimizer.prefer_hash_join = false;
        // Each sort reserves this much for the merge of its runs.
        options.execution.sort_spill_reservation_bytes = (share / 4).min(10 << 20);
        options.execution.sort_in_place_threshold_bytes = 1 << 20;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory as usize)))
            .with_disk_manager_builder(
                DiskManagerBuilder::default()
                    .with_mode(DiskManagerMode::Directories(vec![spill]))
                    .with_max_temp_directory_size(u64::MAX),
            )
            .build_arc()?;
        let state =
            SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
        let context = SessionContext::new_with_state(state);
        Ok(Self { context, folder: folder.to_owned(), tables: BTreeMap::new(), made: 0 })
    }

    /// Registers a folder of Parquet files as a table.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub async fn open(&mut self, table: &str, folder: &Path) -> anyhow::Result<()> {
        self.context.deregister_table(table)?;
        let path = format!("{}/", folder.to_str().context("a path that is no UTF-8")?);
        self.context
            .register_parquet(table, path, ParquetReadOptions::default())
            .await
            .with_context(|| format!("{}: cannot read rows", folder.display()))
    }

    /// Makes a table, replacing one of the same name, and returns the number of its rows.
    ///
    /// # Errors
    /// When the statement fails or a file cannot be written.
    pub async fn make(&mut self, table: &str, statement: &str) -> anyhow::Result<u64> {
        self.made += 1;
        let folder = self.folder.join(format!("{:03}-{table}", self.made));
        let rows = self.write(statement, &folder).await.with_context(|| format!("table {table}"))?;
        self.open(table, &folder).await?;
        if let Some(old) = self.tables.insert(table.to_owned(), folder) {
            std::fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(rows)
    }

    /// Renames a table, replacing one of the new name.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub async fn rename(&mut self, table: &str, name: &str) -> anyhow::Result<()> {
        let folder = self.tables.remove(table).with_context(|| format!("there is no table {table}"))?;
        self.context.deregister_table(table)?;
        self.open(name, &folder).await?;
        if let Some(old) = self.tables.insert(name.to_owned(), folder) {
            std::fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Removes a table.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub fn drop(&mut self, table: &str) -> anyhow::Result<()> {
        self.context.deregister_table(table)?;
        if let Some(old) = self.tables.remove(table) {
            std::fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Whether a statement returns no row.
    ///
    /// # Errors
    /// When it fails.
    pub async fn is_empty(&self, statement: &str) -> anyhow::Result<bool> {
        let mut stream = self.context.sql(statement).await?.execute_stream().await?;
        while let Some(batch) = stream.next().await {
            if batch?.num_rows() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the result of a statement into a new folder, with a file for each partition, and returns the number of rows.
    ///
    /// # Errors
    /// When the statement fails or a file cannot be written.
    pub async fn write(&self, statement: &str, folder: &Path) -> anyhow::Result<u64> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let streams = self.context.sql(statement).await?.execute_stream_partitioned().await?;
        let mut tasks = Vec::new();
        for (at, stream) in streams.into_iter().enumerate() {
            tasks.push(tokio::spawn(save(stream, folder.join(format!("{at:05}.parquet")))));
        }
        let mut rows = 0;
        for task in tasks {
            rows += task.await.context("a partition of a plan ended by a panic")??;
        }
        Ok(rows)
    }
}

/// Writes a stream as a file; an empty result also has the columns.
async fn save(mut stream: SendableRecordBatchStream, path: PathBuf) -> anyhow::Result<u64> {
    let says = || format!("cannot write {}; is the disk full?", path.display());
    // Compression does not shrink hashes, and statistics are not used.
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(&path).with_context(says)?, stream.schema(), Some(properties))?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).with_context(says)?;
    }
    writer.close().with_context(says)?;
    Ok(rows)
}
