//! The Python package: arrays in, arrays out, and one call into the library between them. What Python people expect of an
//! estimator is written in Python (py/lowbit).

mod arrays;
mod devices;
mod errors;
mod kmeans;
mod run;

use pyo3::prelude::*;

/// What `lowbit` is made of; not for use by itself.
#[pymodule(gil_used = true)]
fn _lowbit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<arrays::FileRows>()?;
    module.add_class::<kmeans::MiniBatch>()?;
    module.add_function(wrap_pyfunction!(devices::devices, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_fit, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_predict, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_transform, module)?)?;
    module.add_function(wrap_pyfunction!(kmeans::kmeans_batch, module)?)?;
    module.add_function(wrap_pyfunction!(run::panic_for_a_test, module)?)?;
    Ok(())
}
