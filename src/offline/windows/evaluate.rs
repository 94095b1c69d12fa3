//! One partition's answers: the kernel over one entity after the other.

use arrow::array::ArrayRef;

use crate::{
    compute::window::{Function, Slider, StateKind, Window},
    model::DataType,
    offline::{
        OfflineError,
        windows::{
            Aggregation, WindowJoin,
            collect::Piece,
            output::OutputColumn,
            partition::{Compact, Ordered},
            plan::{Reads, SeriesPlan},
            questions::Questions,
            watch::Closely,
        },
    },
};

/// A grouping's aggregations, so that what several share is computed once: first the series, then what is kept of it,
/// then the window.
pub(super) struct Program {
    pub series: Vec<SeriesPlan>,
    steps: Vec<Step>,
    /// Of the results, in the aggregations' order.
    types: Vec<DataType>,
}

struct Step {
    series: usize,
    kind: StateKind,
    windows: Vec<OneWindow>,
}

struct OneWindow {
    window: Window,
    functions: Vec<Function>,
    /// Per function the number of its aggregation.
    aggregations: Vec<usize>,
}

impl Program {
    pub fn new(
        table: &str,
        aggregations: &[Aggregation],
        reads: &mut Reads,
    ) -> Result<Program, OfflineError> {
        let mut program = Program { series: Vec::new(), steps: Vec::new(), types: Vec::new() };
        for (number, aggregation) in aggregations.iter().enumerate() {
            let Aggregation { events, function, window } = aggregation;
            let column = events.column.as_ref();
            let result = function.result(column.map(|column| &column.data_type));
            program.types.push(result.map_err(|error| OfflineError::Schema {
                table: table.to_owned(),
                column: column.map_or_else(|| "*".to_owned(), |column| column.name.clone()),
                reason: error.to_string(),
            })?);
            let plan = reads.add(table, events)?;
            let series = find_or_push(&mut program.series, |known| *known == plan, || plan);
            let kind = StateKind::of(*function, plan.column.map(|at| reads.columns[at].1));
            let step = find_or_push(
                &mut program.steps,
                |step| step.series == series && step.kind == kind,
                || Step { series, kind, windows: Vec::new() },
            );
            let windows = &mut program.steps[step].windows;
            let at = find_or_push(
                windows,
                |known| known.window == *window,
                || OneWindow { window: *window, functions: Vec::new(), aggregations: Vec::new() },
            );
            windows[at].functions.push(*function);
            windows[at].aggregations.push(number);
        }
        Ok(program)
    }

    /// Columns without rows.
    pub fn empty(&self) -> Vec<ArrayRef> {
        self.types.iter().map(|it| arrow::array::new_empty_array(&it.arrow())).collect()
    }
}

fn find_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    })
}

/// One thread's memory for the partitions of a grouping.
pub(super) struct Evaluator<'a> {
    program: &'a Program,
    reads: &'a Reads,
    questions: &'a Questions,
    request: &'a WindowJoin<'a>,
    grouping: usize,
    table: &'a str,
    ordered: Ordered,
    compact: Compact,
    sliders: Vec<Slider>,
}

impl<'a> Evaluator<'a> {
    pub fn new(
        program: &'a Program,
        reads: &'a Reads,
        questions: &'a Questions,
        (request, grouping): (&'a WindowJoin<'a>, usize),
        table: &'a str,
    ) -> Evaluator<'a> {
        Evaluator {
            program,
            reads,
            questions,
            request,
            grouping,
            table,
            ordered: Ordered::default(),
            compact: Compact::default(),
            sliders: program.steps.iter().map(|step| Slider::new(step.kind)).collect(),
        }
    }

    /// A column for each aggregation with a row for each of the partition's slots.
    pub fn partition(&mut self, pieces: &[Piece], partition: usize) -> Result<Vec<ArrayRef>, OfflineError> {
        let questions = self.questions;
        let entities = questions.members(partition);
        self.ordered.load(self.table, pieces, partition, entities.clone(), self.reads)?;
        let starts = &questions.starts[entities.start as usize..=entities.end as usize];
        let slots = (starts[starts.len() - 1] - starts[0]) as usize;
        let mut out: Vec<OutputColumn> =
            self.program.types.iter().map(|data_type| OutputColumn::new(data_type, slots)).collect();
        for entity in entities {
            let rows = self.ordered.rows(entity);
            let [from, to] = [entity, entity + 1].map(|entity| questions.starts[entity as usize] as usize);
            let moments = &questions.times[from..to];
            for (step, slider) in self.program.steps.iter().zip(&mut self.sliders) {
                let plan = self.program.series[step.series];
                let (series, accepted) = self.ordered.series(rows.clone(), plan, &mut self.compact);
                if let Some(watch) = self.request.watch {
                    for one in &step.windows {
                        let entity =
                            Closely { series: &series, accepted, window: one.window, lag: self.request.lag };
                        entity.show(watch, self.grouping, &one.aggregations, moments);
                    }
                }
                if self.request.by_then {
                    for OneWindow { window, functions, aggregations } in &step.windows {
                        let entity =
                            Closely { series: &series, accepted, window: *window, lag: self.request.lag };
                        entity.slide(slider, functions, moments, |function, output| {
                            out[aggregations[function]].push(output);
                        });
                    }
                    continue;
                }
                let mut over = slider.over(&series);
                for OneWindow { window, functions, aggregations } in &step.windows {
                    over.slide(*window, self.request.lag, functions, moments, |function, _, output| {
                        out[aggregations[function]].push(output);
                    });
                }
            }
        }
        let finished = out.into_iter().map(OutputColumn::finish).collect::<Result<_, _>>();
        finished.map_err(OfflineError::columns(self.table))
    }
}
