//! The Python package: arrays in, arrays out, and one call into the library between them. What Python people expect of an
//! estimator is written in Python (py/lowbit).

mod arrays;
mod classify;
mod devices;
mod errors;
mod gguf;
mod kmeans;
mod kv;
mod quantizer;
mod results;
mod run;
mod tools;
mod weights;

use pyo3::prelude::*;

/// What `lowbit` is made of; not for use by itself.
#[pymodule(gil_used = true)]
fn _lowbit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<arrays::FileRows>()?;
    module.add_class::<classify::Model>()?;
    module.add_class::<kmeans::MiniBatch>()?;
    module.add_class::<kv::Cache>()?;
    module.add_class::<kv::Sequence>()?;
    module.add_class::<kv::Step>()?;
    module.add_class::<weights::DeviceWeights>()?;
    module.add_function(wrap_pyfunction!(devices::allocated_for_a_test, module)?)?;
    module.add_function(wrap_pyfunction!(devices::devices, module)?)?;
    module.add_function(wrap_pyfunction!(devices::lose_device_for_a_test, module)?)?;
    module.add_function(wrap_pyfunction!(devices::end, module)?)?;
    module.add_function(wrap_pyfunction!(gguf::gguf_open, module)?)?;
    module.add_function(wrap_pyfunction!(gguf::gguf_write, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_choose, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_fit, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_predict, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_transform, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_batch, module)?)?;
    module.add_function(wrap_pyfunction!(kv::kv_evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(quantizer::faiss_fit, module)?)?;
    module.add_function(wrap_pyfunction!(quantizer::pq_fit, module)?)?;
    module.add_function(wrap_pyfunction!(quantizer::pq_encode, module)?)?;
    module.add_function(wrap_pyfunction!(quantizer::pq_decode, module)?)?;
    module.add_function(wrap_pyfunction!(run::panic_for_a_test, module)?)?;
    module.add_function(wrap_pyfunction!(tools::plan, module)?)?;
    module.add_function(wrap_pyfunction!(tools::roofline, module)?)?;
    module.add_function(wrap_pyfunction!(weights::dequantize, module)?)?;
    module.add_function(wrap_pyfunction!(weights::formats, module)?)?;
    module.add_function(wrap_pyfunction!(weights::quantize, module)?)?;
    // A driver's threads crash if the process ends under them.
    module.py().import("atexit")?.call_method1("register", (module.getattr("end")?,))?;
    Ok(())
}
