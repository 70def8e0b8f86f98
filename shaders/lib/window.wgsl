// Where a convolution reads: sites are places of the output in all
// examples, one behind the other; taps are elements of the window.

struct Params {
    rows: u32,          // tiles
    sites: u32,         // examples x places of the output
    site_tiles: u32,    // tiles for a column; lanes behind the last site compute it again and do not write
    in_words: u32,      // words of four channels, at one place
    out_words: u32,
    out_channels: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    taps: u32,          // elements of the window
    kernel_x: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_y: u32,
    pad_x: u32,
    group_in: u32,      // channels of a group
    group_out: u32,
    group_words: u32,   // words that an output word reads at one place
    slab: u32,          // words of constants for a step
    in_total: u32,      // words of the whole input
    pad_word: u32,      // the input's zero point, four times
    planes: u32,        // 2 where weights have zero points: the second plane has a 1 for each weight there is
}

const NOWHERE: u32 = 0xffffffffu;

// Whether the window is a single element that reads the place it writes.
override POINT: u32 = 0u;
// Whether the window is 3 x 3 without its corners.
override STAR: u32 = 0u;

// The place of a tap in the whole window.
fn place_in_window(tap: u32) -> u32 {
    if (STAR == 1u) {
        // 1, 3, 4, 5, 7
        return tap + 1u + u32(tap > 0u) + u32(tap > 3u);
    }
    return tap;
}

// The first word that `site` reads at `tap`, or NOWHERE in the padding.
fn source_at(site: u32, tap: u32) -> u32 {
    if (POINT == 1u) {
        return site * params.in_words;
    }
    let positions = params.out_height * params.out_width;
    let example = site / positions;
    let position = site % positions;
    let place = place_in_window(tap);
    // Below the padding the difference wraps around, and is larger than any size.
    let y = position / params.out_width * params.stride_y + place / params.kernel_x * params.dilation_y - params.pad_y;
    let x = position % params.out_width * params.stride_x + place % params.kernel_x * params.dilation_x - params.pad_x;
    if (y >= params.height || x >= params.width) {
        return NOWHERE;
    }
    return ((example * params.height + y) * params.width + x) * params.in_words;
}

// The first of the input words that belong to the groups of output word `column`.
fn first_word(column: u32) -> u32 {
    let word = column * 4u / params.group_out * params.group_in / 4u;
    return min(word, params.in_words - params.group_words);
}
