//! Work that repeats: what was asked for twice in the same way is made one thing of, and started as one from then on.
//!
//! A pass through a network asks for a few hundred kernels, each of which costs some microseconds to start; of a small batch that is more
//! than the kernels take. A step of gradient ascent asks for the same kernels as the step before, on the same numbers' places, as memory is
//! handed out in one order. So the queue holds work back until somebody wants its results, looks it up here, and starts it at once. What is
//! done is in any case exactly what was asked for, in its order: only how it is started differs.

use super::driver::{Driver, Work};

/// Pieces of work that are remembered: those of a step of an ascent are two.
const MOST: usize = 16;
/// Less is not worth a graph.
const LEAST: usize = 4;

/// The pieces of work that were asked for last.
#[derive(Default)]
pub(super) struct Graphs {
    /// The latest at the end.
    kept: Vec<Kept>,
    /// How often a graph was started.
    pub replays: u64,
}

struct Kept {
    work: Vec<Work>,
    graph: Graph,
}

enum Graph {
    /// The work was asked for once.
    Wanted,
    /// The driver's number for it.
    Made(u64),
    /// The driver could not.
    Refused,
}

impl Graphs {
    /// Does the work: as one if it was done before.
    ///
    /// # Safety
    /// As [`Driver::launch`] and [`Driver::copy`] of all of it.
    pub unsafe fn start(&mut self, driver: &dyn Driver, work: Vec<Work>) -> Result<(), String> {
        // SAFETY: the caller's, here and below.
        let each = |work: &[Work]| work.iter().try_for_each(|w| unsafe { w.start(driver) });
        if work.len() < LEAST {
            return each(&work);
        }
        let Some(at) = self.kept.iter().position(|k| k.work == work) else {
            each(&work)?;
            if self.kept.len() == MOST
                && let Graph::Made(graph) = self.kept.remove(0).graph
            {
                // SAFETY: it is not started any more.
                unsafe { driver.forget(graph) };
            }
            self.kept.push(Kept { work, graph: Graph::Wanted });
            return Ok(());
        };
        let mut kept = self.kept.remove(at);
        if let Graph::Wanted = kept.graph {
            // SAFETY: the caller's.
            kept.graph = unsafe { driver.capture(&kept.work) }.map_or(Graph::Refused, Graph::Made);
        }
        let done = match kept.graph {
            Graph::Made(graph) => {
                self.replays += 1;
                // SAFETY: the work is the same, so its memory is that which the caller answers for.
                unsafe { driver.replay(graph) }
            }
            _ => each(&kept.work),
        };
        self.kept.push(kept);
        done
    }
}
