//! The demo as a person meets it: ready line, nodes that answer, and no node left however it ends.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::demo::{MAX_BASE_PORT, QUIC_ABOVE_HTTP};
use crate::failure::{Explain, Outcome, fail};
use crate::http;
use crate::integration::stage::Stage;
use crate::progress::seconds;

const NODES: u16 = 2;
/// The node is built, but npm may have to fetch the page's client.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// After the demo's end, however it came, its nodes are gone within this time.
const GONE_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many times a free range of ports is looked for.
const TRIES: usize = 100;

/// How a demo is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Interrupt,
    Terminate,
    HangUp,
    /// SIGKILL: the demo can do nothing any more.
    Kill,
}

pub(crate) fn run(stage: &mut Stage) -> Outcome<String> {
    let mut slowest = Duration::ZERO;
    for end in platform::ENDS {
        slowest = slowest.max(ends_without_a_trace(stage, end)?);
    }
    Ok(format!(
        "however it ended, no node was left after {}",
        seconds(slowest)
    ))
}

fn ends_without_a_trace(stage: &Stage, end: End) -> Outcome<Duration> {
    let base_port = free_base_port()?;
    let mut demo = Demo::start(base_port, &stage.logs.join(format!("{end:?}.log")))?;
    demo.ready(stage, base_port)?;
    a_second_one_is_refused(stage, base_port)?;

    let ended = Instant::now();
    platform::end(&mut demo.child, end)?;
    let status = demo.wait()?;
    if end != End::Kill && !status.success() {
        fail!("a demo that was asked to stop ({end:?}) ended with {status}");
    }
    while !is_free(base_port) {
        if ended.elapsed() > GONE_WITHIN {
            fail!(
                "{} s after a demo ended by {end:?} its ports are still held",
                GONE_WITHIN.as_secs()
            );
        }
        stage.pause(LOOK_EVERY)?;
    }
    Ok(ended.elapsed())
}

/// On the same ports: one line that names the port and the cure, and no node started.
fn a_second_one_is_refused(stage: &Stage, base_port: u16) -> Outcome {
    let log = stage.logs.join("refused.log");
    let mut second = Demo::start(base_port, &log)?;
    let status = second.wait()?;
    let said = std::fs::read_to_string(&log).explain("reading what the second demo said")?;
    let names_it = said.contains(&format!("port {base_port} ")) && said.contains("--base-port");
    if status.success() || said.lines().count() != 1 || !names_it {
        fail!("a demo on ports that are taken ended with {status} and said: {said}");
    }
    Ok(())
}

/// A running demo. Dropped, it is killed.
struct Demo {
    child: Child,
    printed: Receiver<String>,
}

impl Demo {
    fn start(base_port: u16, log: &Path) -> Outcome<Self> {
        let xtask = env::current_exe().explain("finding xtask's own program file")?;
        let said = File::create(log).explain(format!("making {}", log.display()))?;
        let mut child = Command::new(xtask)
            .args(["demo", "--debug"])
            .args(["--nodes", &NODES.to_string()])
            .args(["--base-port", &base_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .explain("starting a demo")?;
        let Some(output) = child.stdout.take() else {
            fail!("the demo has no standard output");
        };
        Ok(Demo {
            child,
            printed: first_line(output),
        })
    }

    /// Waits for the ready line, and checks that it is true.
    fn ready(&self, stage: &Stage, base_port: u16) -> Outcome {
        let line = self.ready_line(stage)?;
        let addresses: Vec<SocketAddr> = (0..NODES)
            .map(|index| http_address(base_port, index))
            .collect();
        let urls: Vec<String> = addresses
            .iter()
            .map(|address| format!("http://{address}"))
            .collect();
        if line != format!("demo ready {}", urls.join(" ")) {
            fail!("the demo printed: {line}");
        }
        for address in addresses {
            http::get_json(address, "/api/cluster").explain(format!("asking {address}"))?;
        }
        Ok(())
    }

    fn ready_line(&self, stage: &Stage) -> Outcome<String> {
        let began = Instant::now();
        while began.elapsed() < READY_WITHIN {
            match self.printed.recv_timeout(LOOK_EVERY) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => stage.pause(Duration::ZERO)?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        fail!(
            "the demo printed no ready line; its words are in {}",
            stage.logs.display()
        )
    }

    fn wait(&mut self) -> Outcome<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().explain("waiting for the demo")? {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
        fail!("the demo does not end")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_line(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(output)
            .read_line(&mut line)
            .is_ok_and(|length| length > 0)
        {
            let _ = sender.try_send(line.trim_end().to_owned());
        }
    });
    receiver
}

fn http_address(base_port: u16, index: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, base_port + index).into()
}

fn free_base_port() -> Outcome<u16> {
    for _ in 0..TRIES {
        let picked =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = picked.explain("looking for free ports")?.port();
        if port <= MAX_BASE_PORT && is_free(port) {
            return Ok(port);
        }
    }
    fail!("no free ports for a demo")
}

fn is_free(base_port: u16) -> bool {
    (0..NODES).all(|index| {
        let http = http_address(base_port, index);
        TcpListener::bind(http).is_ok()
            && UdpSocket::bind(http_address(base_port + QUIC_ABOVE_HTTP, index)).is_ok()
    })
}

#[cfg(unix)]
mod platform {
    //! Real signals.

    use std::process::Child;

    use rustix::process::{Pid, Signal, kill_process};

    use super::End;
    use crate::failure::{Explain, Outcome};

    pub(super) const ENDS: [End; 4] = [End::Interrupt, End::Terminate, End::HangUp, End::Kill];

    pub(super) fn end(demo: &mut Child, end: End) -> Outcome {
        let signal = match end {
            End::Interrupt => Signal::INT,
            End::Terminate => Signal::TERM,
            End::HangUp => Signal::HUP,
            End::Kill => Signal::KILL,
        };
        kill_process(Pid::from_child(demo), signal).explain("ending a demo")
    }
}

#[cfg(not(unix))]
mod platform {
    //! The one end that there is everywhere.

    use std::process::Child;

    use super::End;
    use crate::failure::{Explain, Outcome};

    pub(super) const ENDS: [End; 1] = [End::Kill];

    pub(super) fn end(demo: &mut Child, _end: End) -> Outcome {
        demo.kill().explain("ending a demo")
    }
}
