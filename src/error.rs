//! The library's one error type: what was wrong, what was expected, what was found.

use std::path::{Path, PathBuf};

/// A `Result` whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. The message is one or two lines that say what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// A file was read, and is not what was asked for.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// A value given by the caller does not fit.
    #[error("{0}")]
    Input(String),
    /// Sizes that do not fit together, or none at all.
    #[error("{0}")]
    Shape(String),
    /// NaN or infinity where there have to be numbers.
    #[error("{0}")]
    NotFinite(String),
    /// A KV cache without room for more: free sequences, or truncate them.
    #[error("{0}")]
    Full(String),
    /// What lowbit does not do, or this adapter cannot.
    #[error("{0}")]
    Unsupported(String),
    /// There is no adapter that answers to the wanted name, or none at all.
    #[error("{}", no_adapter(wanted.as_deref(), found))]
    NoAdapter {
        /// The name that was asked for, if one was.
        wanted: Option<String>,
        /// The names of the adapters that exist.
        found: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("adapter {adapter}: no device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// The device has no room for what was asked.
    #[error(
        "out of device memory: no room for {what} ({bytes} bytes); use less data, or an adapter with more memory"
    )]
    OutOfMemory {
        /// What was to be allocated.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// The device stopped working.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// A call that wgpu refused; always a fault of lowbit's own.
    #[error("the GPU call was refused (a fault of lowbit, please report it): {0}")]
    Validation(String),
    /// A thread that ended before its work was done; always a fault of lowbit's own.
    #[error("a fault of lowbit, please report it: {0}")]
    Fault(String),
    /// A shader that does not assemble, parse, validate or match its host.
    #[error("shader {shader}: {problem}")]
    Shader {
        /// The shader's name, such as `kmeans/assign`.
        shader: String,
        /// What does not hold.
        problem: String,
    },
    /// A buffer that does not fit the binding it was given for.
    #[error("kernel {kernel}, binding {binding}: {problem}")]
    Binding {
        /// The kernel's name.
        kernel: String,
        /// The binding's name in the shader.
        binding: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A kernel whose result is not what its oracle says.
    #[error("{case}: wrong result: {problem}")]
    Mismatch {
        /// Kernel, variant and size.
        case: String,
        /// The first difference.
        problem: String,
    },
    /// A printer that cannot be reached, refuses, or answers what it should not.
    #[error("{host}: {problem}")]
    Peer {
        /// Where it is, such as `http://192.168.1.5`.
        host: String,
        /// What it did, what state it is in, and what to do.
        problem: String,
    },
    /// The caller asked for an end.
    #[error("interrupted {reached}; {}", resume(path.as_deref()))]
    Interrupted {
        /// The checkpoint from which the work can go on, if there is one.
        path: Option<PathBuf>,
        /// How far the work had come.
        reached: String,
    },
    /// A comparison came out badly; nothing was wrong with its input.
    #[error("{0}")]
    Gate(String),
}

impl Error {
    /// Wraps an I/O error with the file that it concerns.
    pub fn io(path: impl AsRef<Path>, reason: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), reason }
    }

    /// An error about the contents of a file.
    pub fn file(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().to_owned(), problem: problem.into() }
    }

    /// Whether what the caller gave is wrong, and not a file or the device.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Input(_) | Self::Shape(_) | Self::NotFinite(_) | Self::Full(_) | Self::Unsupported(_)
        )
    }

    /// The same about what the caller gave, in words that `by` makes of its own: where it is, say. Other errors stay as they are.
    pub(crate) fn reworded(self, by: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Input(text) => Self::Input(by(text)),
            Self::Shape(text) => Self::Shape(by(text)),
            Self::NotFinite(text) => Self::NotFinite(by(text)),
            Self::Full(text) => Self::Full(by(text)),
            Self::Unsupported(text) => Self::Unsupported(by(text)),
            other => other,
        }
    }

    /// The process exit code that fits: 1 for a failed verification or comparison, 2 for wrong usage or input, 3 for the device
    /// or a peer, 130 for what was interrupted and can be resumed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Mismatch { .. } | Self::Gate(_) => 1,
            Self::Io { .. } | Self::File { .. } => 2,
            error if error.is_input() => 2,
            Self::NoAdapter { found, .. } if !found.is_empty() => 2,
            Self::Interrupted { .. } => 130,
            _ => 3,
        }
    }
}

fn resume(path: Option<&Path>) -> String {
    match path {
        Some(path) => format!("resume from the checkpoint {}", path.display()),
        None => "there is nothing yet to resume from".into(),
    }
}

fn no_adapter(wanted: Option<&str>, found: &[String]) -> String {
    match (wanted, found) {
        (_, []) => "no usable GPU: no Vulkan, Metal or DX12 adapter was found\n\
            install a driver, or a software one (on Debian: `make setup` in a checkout of lowbit)"
            .into(),
        (Some(name), found) => {
            format!("no adapter is called \"{name}\"; there is: {}", found.join(", "))
        }
        (None, found) => format!("none of the adapters is usable: {}", found.join(", ")),
    }
}
