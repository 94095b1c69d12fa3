//! What a query may use: functions, memory, threads. No files, no object stores, no settings.

use std::sync::Arc;

use datafusion::{
    config::ConfigNonZeroUsize,
    execution::{
        SessionState, SessionStateBuilder, SessionStateDefaults,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::RuntimeEnvBuilder,
    },
    optimizer::analyzer::{resolve_grouping_function::ResolveGroupingFunction, type_coercion::TypeCoercion},
    prelude::SessionConfig,
};

use crate::sql::{
    SqlError,
    engine::{errors, functions, integers::CheckIntegers, subqueries::ThreeValued, sum, time},
};

pub(super) struct Sessions {
    cores: usize,
    memory: usize,
}

impl Sessions {
    /// Rows that an operator gives on at a time: few, since each may be large.
    pub const BATCH_ROWS: usize = 2048;

    pub fn new(cores: usize, memory: usize) -> Sessions {
        Sessions { cores, memory }
    }

    /// A session for one query.
    pub fn open(&self, parallel: bool) -> Result<SessionState, SqlError> {
        let mut config = SessionConfig::new()
            .with_batch_size(Self::BATCH_ROWS)
            .with_target_partitions(if parallel { self.cores } else { 1 })
            .with_information_schema(false)
            .with_enforce_batch_size_in_joins(true)
            .with_sort_spill_reservation_bytes(1 << 20);
        let options = config.options_mut();
        options.execution.enable_recursive_ctes = false;
        options.execution.time_zone = Some(time::UTC.to_owned());
        options.sql_parser.collect_spans = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.recursion_limit = ConfigNonZeroUsize::try_new(250).map_err(errors::planning)?;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(self.memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(errors::planning)?;
        let mut planners = SessionStateDefaults::default_expr_planners();
        planners.push(Arc::new(functions::ConcatPlanner));
        let aggregates = SessionStateDefaults::default_aggregate_functions();
        Ok(SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_expr_planners(planners)
            .with_type_planner(Arc::new(time::Moments))
            .with_analyzer_rules(vec![
                Arc::new(ThreeValued),
                Arc::new(ResolveGroupingFunction::new()),
                Arc::new(TypeCoercion::new()),
                Arc::new(CheckIntegers),
            ])
            .with_scalar_functions(functions::scalar())
            .with_aggregate_functions(aggregates.into_iter().map(sum::checked).collect())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .build())
    }
}
