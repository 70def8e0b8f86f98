use lowbit::internals::classify::layout::Layout;
use lowbit::internals::classify::max_pool::{MaxPool, spec};
use lowbit::internals::classify::pooling::Pooling;
use lowbit::internals::gpu::Buffer;
use lowbit::internals::network::{Element, Window};

#[test]
fn agrees_with_the_oracle() {
    crate::harness::check("max_pool");
}

#[test]
fn what_has_no_largest_element_is_refused() {
    let gpu = crate::harness::device();
    let window = Window { kernel: [1, 2], pads: [0, 2], ..Window::POINT };
    let pooling = Pooling { channels: 3, input: [1, 4], output: [1, 7], window };
    let buffer = |label, layout: Layout| Buffer::new(&gpu, label, 2, layout.row_bytes(Element::I8)).unwrap();
    let (x, y) = (buffer("x", pooling.input_layout()), buffer("y", pooling.output_layout()));
    let kernel = MaxPool::load(&gpu, &spec(&pooling, Element::I8).unwrap()).unwrap();
    let error = kernel.bind(&gpu, &x, &y, &pooling).unwrap_err().to_string();
    assert!(error.contains("wholly in the padding of the columns"), "{error}");
    let error = spec(&pooling, Element::I32).unwrap_err().to_string();
    assert!(error.contains("F32 and I8"), "{error}");
}

#[test]
fn examples_of_few_words_share_a_workgroup() {
    let pooling = |channels| Pooling { channels, input: [1, 1], output: [1, 1], window: Window::POINT };
    let label = |channels| spec(&pooling(channels), Element::F32).unwrap().label();
    assert_eq!(label(60), "max_pool element_f32 ROWS_PER_GROUP=64");
    assert_eq!(label(61), "max_pool element_f32 ROWS_PER_GROUP=1");
}
