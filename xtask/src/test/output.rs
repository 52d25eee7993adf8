//! What the programs of a step print: kept in a file, shown only when one fails.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::child::Program;
use crate::failure::{Explain, Outcome, fail};
use crate::progress::Step;
use crate::test::Context;
use crate::test::steps::StepName;

/// No program of a step takes this long, unless it hangs: everything together has to be done in 25 minutes.
const PROGRAM_WITHIN: Duration = Duration::from_secs(20 * 60);
/// A program's latest line is looked for in this much of the end of its output.
const TAIL_BYTES: u64 = 4096;

/// The log of one step.
pub(super) struct StepOutput {
    path: PathBuf,
    file: File,
    /// Where the output of the program that runs now, or ran last, begins.
    last_program: u64,
}

impl StepOutput {
    pub(super) fn new(context: &Context, step: StepName) -> Outcome<Self> {
        let path = context.logs.join(format!("{}.log", step.name()));
        File::create(&path).explain(format!("making {}", path.display()))?;
        // Opened to append, since several processes write to it at once.
        let file = File::options()
            .append(true)
            .open(&path)
            .explain(format!("opening {}", path.display()))?;
        Ok(StepOutput {
            path,
            file,
            last_program: 0,
        })
    }

    /// Runs a program to its end; anything but success is a failure.
    pub(super) fn run(&mut self, context: &Context, program: &Program, step: &mut Step) -> Outcome {
        self.last_program = fs::metadata(&self.path).map_or(0, |file| file.len());
        writeln!(self.file, "$ {}", program.line()).explain("writing a log")?;
        let mut running = program.start_logged(&self.file)?;
        let status = running
            .wait_within(PROGRAM_WITHIN, &context.stop, || {
                step.note(self.latest_line())
            })
            .map_err(|failure| failure.of(&program.line()))?;
        if !status.success() {
            fail!(
                "`{}` failed ({status}); its output is also in {}",
                program.line(),
                self.path.display()
            );
        }
        Ok(())
    }

    pub(super) fn of_last_program(&self) -> String {
        let all = fs::read(&self.path).unwrap_or_default();
        let from = usize::try_from(self.last_program)
            .unwrap_or(0)
            .min(all.len());
        String::from_utf8_lossy(&all[from..]).into_owned()
    }

    fn latest_line(&self) -> String {
        let tail = self.tail().unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let latest = text.lines().rfind(|line| !line.trim().is_empty());
        latest.unwrap_or_default().trim().to_owned()
    }

    fn tail(&self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    }
}
