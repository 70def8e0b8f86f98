// Results of F32 for the host: channel by channel, without padding.
// Channels of the widest word.
override WIDEST: u32 = 4u;

@group(0) @binding(7) var<storage, read_write> y: array<f32>;      // [sites, out_channels]

fn write(site: u32, word: u32, x: vec4<f32>) {
    for (var i = 0u; i < WIDEST; i++) {
        if (word * 4u + i < params.out_channels) {
            y[site * params.out_channels + word * 4u + i] = x[i];
        }
    }
}

fn write_sum(site: u32, word: u32, x: vec4<i32>) {
    write(site, word, vec4<f32>(x));
}
