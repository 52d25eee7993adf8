//! Both cores busy with something else: the nodes come late to everything, and nobody is taken for dead.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::failure::{Explain, Outcome};
use crate::integration::cast::Cast;
use crate::integration::client::COMES_WITHIN;
use crate::integration::stage::Stage;

const NODES: usize = 3;
const BURNERS: usize = 2;
const BUSY_FOR: Duration = Duration::from_secs(10);
/// What all voices together say: little, since late heartbeats are the point.
const PER_SECOND: u32 = 60;

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    let mut cast = Cast::raise("busy", stage, NODES)?;
    cast.voices.speak(&cast.voices.present(), PER_SECOND);
    let burners = Burners::start()?;
    stage.hold(BUSY_FOR)?;
    drop(burners);
    cast.voices.settle(stage, COMES_WITHIN)?;
    cast.voices.lost_nothing(&cast.voices.all())?;
    cast.all_here(stage)?;
    let account = cast.judge(stage)?;
    Ok(format!("no false alarm; {account}"))
}

/// Threads that only spend time. Dropped, they end.
struct Burners {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start() -> Outcome<Self> {
        let mut burners = Burners {
            over: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..BURNERS {
            let over = burners.over.clone();
            let burn = move || {
                while !over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            };
            let thread = thread::Builder::new().spawn(burn);
            burners.threads.push(thread.explain("starting a burner")?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
