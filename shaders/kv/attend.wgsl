//! attend: over a split of a sequence's tokens t: m = max l_t, l = sum exp(l_t - m), o = sum exp(l_t - m) v_t, l_t = scale q.(k_t + mean)
//! One workgroup = up to HEADS query heads that share a kv head against one split, TILE tokens at a time (flash decoding: Dao and
//! others 2023): an invocation makes the logits of whole tokens, then adds up 16 channels of the values of some.
//!
//! Keys and values are decoded as they are read: no key or value is ever written. Queries come in the basis of the keys,
//! outputs are in that of the values. Latents are values that are keys too (multi-head latent attention: DeepSeek-V2, 2024): k_t is
//! v_t, then the rope key in `keys`. A soft cap c makes l = c tanh(l / c); tokens outside the window that are no sinks are
//! left out.
//! Contract: f32, within oracle::attend::bound. A split that sees no token has l = 0.
//! Oracle: src/oracle/attend.rs    Needs: no optional feature
//!
//! use lib/cache_pages

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<vec4<f32>>;            // [queries, kv_heads, heads, d4]
@group(0) @binding(2) var<storage, read> keys: array<u32>;                     // [key_words]
@group(0) @binding(3) var<storage, read> values: array<u32>;                   // [value_words]
@group(0) @binding(4) var<storage, read> table: array<u32>;                    // [tables, table_width] pages
@group(0) @binding(5) var<storage, read> spans: array<Span>;                   // [queries]
@group(0) @binding(6) var<storage, read> sizes: array<f32, 16>;                // of the centroids of keys, then of values
@group(0) @binding(7) var<storage, read> mean: array<vec4<f32>>;               // [means, d4] in the basis of the keys
@group(0) @binding(8) var<storage, read_write> partial: array<vec4<f32>>;      // [partials, width]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;
const TABLE_HEAD: u32 = 0u;
const HEADS: u32 = 4u;
const TOKENS: u32 = 4u;
const TILE: u32 = WG * TOKENS;
// Lanes that look for the largest logits of the others, a multiple of HEADS: each finds that of WG / FINDERS lanes for one head.
const FINDERS: u32 = 16u;
// Shares of a tile's tokens, or 16 sums and the total of each lane.
const SHARES: u32 = max(TILE * HEADS, WG * 17);
// Vec4s of a token's value that a lane adds up for all heads: no more sums than stay in registers beside the logits. DIM / 4 / PART
// lanes take a value; the host sees to it that they are neither more than WG nor fewer than HEADS.
const PART: u32 = min(4u, 8u / HEADS);

// 1: values are latents, and a key is one and what `keys` has. Keys then have no scale of a whole token.
override LATENT: u32 = 0u;
// Of a query.
override QUADS: u32 = (LATENT * DIM + KEY_DIM) / 4;

// Arrays of a lane are nested so that each loop runs over one index: compilers unroll such loops, and only then keep the
// array in registers.
alias Logits = array<array<f32, HEADS>, TOKENS>;
alias Keys = array<vec4<f32>, TOKENS>;

var<workgroup> rows: array<vec4<f32>, HEADS * QUADS>;
var<workgroup> offsets: array<f32, HEADS>;
// Largest logits of each lane, shares of a tile's tokens, then the sums of all lanes.
var<workgroup> share: array<f32, SHARES>;
var<workgroup> largest: array<array<f32, HEADS>, FINDERS / HEADS>;
// The largest logits of all tiles so far.
var<workgroup> most: array<f32, HEADS>;
// Of a tile's tokens.
var<workgroup> places: array<vec2<u32>, TILE>;

// The share of a tile's token `t`, which may lie behind the tile if `slots` do not divide it, or lanes have no slot.
fn share_of(t: u32, head: u32, slots: u32) -> f32 {
    if (TILE % slots == 0u && slots * (DIM / 4u / PART) == WG) {
        return share[t * HEADS + head];
    }
    return select(0.0, share[min(t, TILE - 1u) * HEADS + head], t < TILE);
}

// Products of vec4 number `quad` of each query with that of the keys of TOKENS tokens.
fn add_products(logit: ptr<function, Logits>, key: Keys, quad: u32) {
    for (var h = 0u; h < HEADS; h++) {
        let query = rows[h * QUADS + quad];
        for (var i = 0u; i < TOKENS; i++) {
            (*logit)[i][h] += dot(query, key[i]);
        }
    }
}

@compute @workgroup_size(WG)
fn attend(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * ROWS_PER_GROUP;
    if (row >= params.rows) {
        return;
    }
    let head_groups = (params.heads + HEADS - 1u) / HEADS;
    let split = row % params.splits;
    let first_head = row / params.splits % head_groups * HEADS;
    let kv_head = row / params.splits / head_groups % params.kv_heads;
    let sequence = row / params.splits / head_groups / params.kv_heads;
    let heads = min(HEADS, params.heads - first_head);
    let span = spans[sequence];
    let first = min(span.first + split * params.split_tokens, span.tokens);
    let end = min(first + params.split_tokens, span.tokens);
    let quads = DIM / 4u;
    set_centroids(lane, KEY, VALUE);
    for (var i = lane; i < HEADS * QUADS; i += WG) {
        let head = first_head + min(i / QUADS, heads - 1u);
        let at = (sequence * params.kv_heads + kv_head) * params.heads + head;
        rows[i] = queries[at * QUADS + i % QUADS];
    }
    workgroupBarrier();
    for (var h = lane; h < HEADS; h += WG) {
        var offset = 0.0;
        if (params.means > 0u) {
            for (var quad = 0u; quad < params.d4; quad++) {
                offset += dot(rows[h * QUADS + quad], mean[kv_head * QUADS + quad]);
            }
        }
        offsets[h] = offset * params.scale;
        most[h] = -HUGE;
    }
    workgroupBarrier();

    // Of the shares of one head, whose number is that of the lane among those of a token.
    var total = 0.0;
    var sum: array<array<vec4<f32>, PART>, HEADS>;
    let chunks = DIM / 16u;
    let parts = quads / PART;
    let slots = WG / parts;
    let slot = lane / parts;
    let part = lane % parts;
    let first_quad = part * PART;
    let chunk_at = first_quad / 4u;

    for (var tile = first; tile < end; tile += TILE) {
        // Logits of TOKENS tokens.
        var logit: Logits;
        for (var i = 0u; i < TOKENS; i++) {
            places[i * WG + lane] = place_of(sequence, kv_head, span, min(tile + i * WG + lane, end - 1u));
        }
        if (LATENT == 1u) {
            for (var chunk = 0u; chunk < chunks; chunk++) {
                var affine: array<vec2<f32>, TOKENS>;
                for (var i = 0u; i < TOKENS; i++) {
                    affine[i] = vec2(1.0, 0.0);
                    if (has_groups(VALUE)) {
                        affine[i] = value_affine(places[i * WG + lane], chunk);
                    }
                }
                for (var quad = 0u; quad < 4u; quad++) {
                    var key: Keys;
                    for (var i = 0u; i < TOKENS; i++) {
                        let words = value_words(places[i * WG + lane], chunk, quad);
                        let decoded = values_of(VALUE, chunk, quad, words, 16u);
                        key[i] = decoded * affine[i].x + affine[i].y;
                    }
                    add_products(&logit, key, chunk * 4u + quad);
                }
            }
            if (VALUE == FP8 || is_turbo(VALUE)) {
                for (var i = 0u; i < TOKENS; i++) {
                    let affine = value_affine(places[i * WG + lane], 0u);
                    for (var h = 0u; h < HEADS; h++) {
                        logit[i][h] *= affine.x;
                    }
                }
            }
        }
        for (var chunk = 0u; chunk < params.d4 / 4u - LATENT * chunks; chunk++) {
            var scale: array<f32, TOKENS>;
            for (var i = 0u; i < TOKENS; i++) {
                scale[i] = 1.0;
                if (has_groups(KEY) && !is_kivi(KEY)) {
                    scale[i] = key_scale(places[i * WG + lane], chunk / 2u);
                }
            }
            for (var quad = 0u; quad < 4u; quad++) {
                var key: Keys;
                for (var i = 0u; i < TOKENS; i++) {
                    let words = key_words(places[i * WG + lane], chunk, quad);
                    var decoded = values_of(KEY, chunk, quad, words, 0u);
                    if (is_kivi(KEY)) {
                        decoded = affine_by_channel(places[i * WG + lane], chunk * 4u + quad, decoded);
                    }
                    key[i] = decoded * scale[i];
                }
                add_products(&logit, key, LATENT * quads + chunk * 4u + quad);
            }
        }
        for (var i = 0u; i < TOKENS; i++) {
            let token = tile + i * WG + lane;
            var scale = params.scale;
            if (KEY == FP8 || is_turbo(KEY)) {
                scale *= key_scale(places[i * WG + lane], 0u);
            }
            let seen = token < end && is_seen(position_of(span, min(token, end - 1u)), span.length);
            for (var h = 0u; h < HEADS; h++) {
                var l = logit[i][h] * scale + offsets[h];
                if (params.soft_cap > 0.0) {
                    l = params.soft_cap * (1.0 - 2.0 / (exp(2.0 * l / params.soft_cap) + 1.0));
                }
                logit[i][h] = select(-HUGE, l, seen);
            }
        }
        // The largest logit of each head: of a lane's tokens, of the lanes that a finder looks at, of all finders.
        for (var h = 0u; h < HEADS; h++) {
            var own = -HUGE;
            for (var i = 0u; i < TOKENS; i++) {
                own = max(own, logit[i][h]);
            }
            share[lane * HEADS + h] = own;
        }
        workgroupBarrier();
        if (lane < FINDERS) {
            var found = -HUGE;
            for (var i = lane; i < WG * HEADS; i += FINDERS) {
                found = max(found, share[i]);
            }
            largest[lane / HEADS][lane % HEADS] = found;
        }
        workgroupBarrier();
        var high: array<f32, HEADS>;
        for (var h = 0u; h < HEADS; h++) {
            high[h] = most[h];
            for (var i = 0u; i < FINDERS / HEADS; i++) {
                high[h] = max(high[h], largest[i][h]);
            }
            let keep = exp(most[h] - high[h]);
            total = select(total, total * keep, h == part);
            for (var quad = 0u; quad < PART; quad++) {
                sum[h][quad] *= keep;
            }
            for (var i = 0u; i < TOKENS; i++) {
                let l = logit[i][h];
                share[(i * WG + lane) * HEADS + h] = select(exp(l - high[h]), 0.0, l == -HUGE);
            }
        }
        workgroupBarrier();
        if (lane == 0u) {
            most = high;
        }
        // PART vec4s of the values of every `slots`th token. All lanes run as often, as sums then need no second place where a loop
        // ends: what is no token of the tile has no share.
        let count = min(TILE, end - tile);
        for (var first_slot = 0u; first_slot < count; first_slot += slots) {
            let t = first_slot + slot;
            let place = places[min(t, TILE - 1u)];
            let affine = value_affine(place, chunk_at);
            var decoded: array<vec4<f32>, PART>;
            for (var quad = 0u; quad < PART; quad++) {
                let at = first_quad % 4u + quad;
                let words = value_words(place, chunk_at, at);
                decoded[quad] = values_of(VALUE, chunk_at, at, words, 16u);
            }
            total += share_of(t, min(part, HEADS - 1u), slots);
            for (var h = 0u; h < HEADS; h++) {
                let p = share_of(t, h, slots);
                let scale = p * affine.x;
                let offset = p * affine.y;
                for (var quad = 0u; quad < PART; quad++) {
                    sum[h][quad] += scale * decoded[quad] + offset;
                }
            }
        }
        workgroupBarrier();
    }

    share[WG * 16u + lane] = total;

    // Sums over the slots, a head at a time, where the queries were.
    for (var h = 0u; h < HEADS; h++) {
        // This loop stays one, for its barriers: the sums of a head are picked by indices that are known.
        var own: array<vec4<f32>, PART>;
        for (var other = 0u; other < HEADS; other++) {
            if (other == h) {
                own = sum[other];
            }
        }
        for (var quad = 0u; quad < PART; quad++) {
            for (var c = 0u; c < 4u; c++) {
                share[(quad * WG + lane) * 4u + c] = own[quad][c];
            }
        }
        workgroupBarrier();
        for (var at = lane; at < quads; at += WG) {
            var all = vec4<f32>();
            for (var s = 0u; s < slots; s++) {
                let first_sum = (at % PART * WG + s * parts + at / PART) * 4u;
                for (var c = 0u; c < 4u; c++) {
                    all[c] += share[first_sum + c];
                }
            }
            rows[h * QUADS + at] = all;
        }
        if (lane == 0u) {
            var all = 0.0;
            for (var s = 0u; s < slots; s++) {
                all += share[WG * 16u + s * parts + h];
            }
            offsets[h] = all;
        }
        workgroupBarrier();
    }
    let to = ((sequence * params.kv_heads + kv_head) * params.all_splits + params.first_split + split) * params.heads;
    for (var i = lane; i < heads * quads; i += WG) {
        partial[(to + first_head + i / quads) * params.width + i % quads] = rows[i / quads * QUADS + i % quads];
    }
    if (lane == 0u) {
        for (var h = 0u; h < HEADS; h++) {
            if (h < heads) {
                partial[(to + first_head + h) * params.width + quads] = vec4(most[h], offsets[h], 0.0, 0.0);
            }
        }
    }
}
