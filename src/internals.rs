//! Every module with all that it has, for the command line, tests and benches: none of it is promised to anyone else.

pub use crate::{Error, Result};

macro_rules! shown {
    ($room:ident: $($(#[$gate:meta])* $inner:ident)*) => {
        #[allow(unused_imports, reason = "the list is the same whether a room has such items or not")]
        pub use crate::$room::*;
        $($(#[$gate])*
        #[allow(unused_imports, reason = "as above")]
        pub mod $inner {
            pub use crate::$room::$inner::*;
        })*
    };
}

macro_rules! rooms {
    ($($(#[$gate:meta])* $room:ident: $($(#[$inner_gate:meta])* $inner:ident)*;)*) => {$(
        $(#[$gate])*
        pub mod $room {
            shown! { $room: $($(#[$inner_gate])* $inner)* }
        }
    )*};
}

rooms! {
    audit: telemetry;
    calibration:;
    cases:;
    classify: average_pool calibrate dense dense_integer engine extent gather histogram judge latency layout max_pool pointwise pooling rank softmax starnet steps watch window;
    codec:;
    #[cfg(feature = "cli")]
    edge:;
    format: planes;
    io: csv hash kind labels onnx output #[cfg(feature = "cli")] picture saved stream table;
    kmeans: adapters assign assignment batch bid centroid checkpoint control definition distance element frame iterate labeller lloyd mini_batch #[cfg(feature = "cli")] palette points product radix_sort rerank seed statistics transform weights;
    kv: append attend blocks cache extent keep layout rotate timing;
    matmul: activation choice dequantize known matmul matmul_integer matmul_matrix matvec matvec_fixed matvec_integer row_scale split_sum;
    network:;
    oracle:;
    #[cfg(feature = "cli")]
    plan:;
    quality:;
    quantize:;
    random:;
    #[cfg(feature = "cli")]
    report:;
    roofline: kernels products;
    roofs:;
    #[cfg(feature = "cli")]
    table:;
}

/// The core, with what kernels are made of.
pub mod gpu {
    pub use crate::gpu::bound::Bound;
    pub use crate::gpu::buffer::Readback;
    pub use crate::gpu::kernel::{Kernel, OpKind, ParamType, Params, Work, params};
    pub use crate::gpu::record::{PassRecord, Recorder};
    pub use crate::gpu::reflect::Reflection;
    pub use crate::gpu::source::Spec;
    pub use crate::gpu::timing::{Timing, time};

    shown! { gpu: buffer context dispatch kernel record reflect source table timing tune verify }
}
