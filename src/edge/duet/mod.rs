//! A Duet3D printer (RepRapFirmware 3.4 or later) over its plain HTTP interface.
//!
//! `deploy` puts the macro `sys/M573.g` on the printer and has `sys/beforeLayerChange.g` call it; `swap` gives it new
//! constants while the printer runs. Both work on a [`Session`]. The firmware does not run `sys/beforeLayerChange.g` by
//! itself: the slicer's G-code has to have `M98 P"beforeLayerChange.g"` at each change of layer.
//!
//! ```no_run
//! use lowbit::internals::edge::duet::{Constants, Deadlines, Password, Session, deploy, swap};
//!
//! let host = "http://192.168.1.5".parse()?;
//! let session = Session::open(&host, Password::default(), Deadlines::default())?;
//! for step in deploy(&session, false)?.steps {
//!     println!("{} {}: {}", step.action, step.file, step.result);
//! }
//! println!("{}", swap(&session, Constants::new(0.05, 0.3)?).status);
//! # Ok::<(), lowbit::Error>(())
//! ```

mod client;
mod deploy;
mod hook;
mod host;
mod swap;

pub use client::{Deadlines, Password, Session};
pub use deploy::{Deployment, HOOK, HOOKED, MACRO, MACRO_NAME, Step, deploy};
pub use host::Host;
pub use swap::{Constants, Status, Swap, swap};
