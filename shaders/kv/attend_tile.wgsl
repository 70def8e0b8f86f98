//! attend_tile: as attend, of runs of queries: those of one sequence see its tokens up to their own
//! One workgroup = ROWS query heads of neighbouring queries that share a kv head against one split, TILE tokens at a time (tiles of
//! queries and tokens, softmax as they come: Dao and others 2022): logits are a product of a tile of queries with one of keys, sums one
//! of shares with values, in both of which an invocation has TM rows.
//!
//! Keys and values are decoded once for all rows. What is said of them, and of queries, in attend holds here; there are no latents.
//! Contract: f32, within oracle::attend::bound. A split of which a query sees no token has l = 0.
//! Oracle: src/oracle/attend.rs    Needs: no optional feature
//!
//! use lib/cache_pages

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<vec4<f32>>;            // [queries, kv_heads, heads, d4]
@group(0) @binding(2) var<storage, read> keys: array<u32>;                     // [key_words]
@group(0) @binding(3) var<storage, read> values: array<u32>;                   // [value_words]
@group(0) @binding(4) var<storage, read> table: array<u32>;                    // [tables, table_width] see below
@group(0) @binding(5) var<storage, read> spans: array<Span>;                   // [queries]
@group(0) @binding(6) var<storage, read> sizes: array<f32, 16>;                // of the centroids of keys, then of values
@group(0) @binding(7) var<storage, read> mean: array<vec4<f32>>;               // [means, d4] in the basis of the keys
@group(0) @binding(8) var<storage, read_write> partial: array<vec4<f32>>;      // [partials, width]

const WG: u32 = 64u;
const ROWS_PER_GROUP: u32 = 1u;
// Of a tile: the first query of its run, how many the run has, and the tile's first row; then the blocks of their sequence. Rows are the
// query heads that share a kv head, of one query after another.
const TABLE_HEAD: u32 = 3u;
const ACROSS: u32 = 8u;         // invocations side by side over tokens, and over channels
const TM: u32 = 4u;             // rows of an invocation, and vec4s of a value that it adds up for each
const PARTS: u32 = 4u;
const STEP: u32 = 8u;           // tokens whose values are in memory at a time
const DOWN: u32 = WG / ACROSS;
const ROWS: u32 = DOWN * TM;
const TILE: u32 = ACROSS * 4u;  // an invocation has four neighbouring tokens
const QUERY_TURNS: u32 = ROWS * 4u / WG;
const KEY_TURNS: u32 = TILE * 4u / WG;
const VALUE_TURNS: u32 = STEP * PARTS * ACROSS / WG;

// A chunk of 16 channels of queries and of keys, by vec4; values of STEP tokens. As in matmul, all loads of an inner loop share an
// address but for the lane's own place.
var<workgroup> query_tile: array<array<array<vec4<f32>, DOWN>, TM>, 4>;
var<workgroup> key_tile: array<array<array<vec4<f32>, ACROSS>, 4>, 4>;
var<workgroup> value_tile: array<array<array<vec4<f32>, ACROSS>, PARTS>, STEP>;
// Shares, of four tokens in a vec4.
var<workgroup> shares: array<array<array<vec4<f32>, DOWN>, TM>, ACROSS>;
// Of each row: the largest logits of its lanes, or their totals.
var<workgroup> of_lanes: array<array<f32, ACROSS>, ROWS>;
// Where a row's query begins, and what the mean adds to its logits.
var<workgroup> query_at: array<u32, ROWS>;
var<workgroup> offsets: array<f32, ROWS>;
var<workgroup> places: array<vec2<u32>, TILE>;

@compute @workgroup_size(WG)
fn attend_tile(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups) * ROWS_PER_GROUP;
    if (number >= params.rows) {
        return;
    }
    let split = number % params.splits;
    let kv_head = number / params.splits % params.kv_heads;
    let tile = number / params.splits / params.kv_heads;
    let head_at = tile * params.table_width;
    let first_query = table[head_at];
    let all_rows = table[head_at + 1u] * params.heads;
    let first_row = table[head_at + 2u];
    let last_row = min(first_row + ROWS, all_rows) - 1u;
    // The last query sees the most tokens, the first one the earliest.
    let span = spans[first_query + last_row / params.heads];
    let first = min(spans[first_query + first_row / params.heads].first + split * params.split_tokens, span.tokens);
    let end = min(first + params.split_tokens, span.tokens);
    let row_lane = lane / ACROSS;
    let column_lane = lane % ACROSS;
    set_centroids(lane, KEY, VALUE);
    for (var row = lane; row < ROWS; row += WG) {
        let own = min(first_row + row, last_row);
        let head = ((first_query + own / params.heads) * params.kv_heads + kv_head) * params.heads + own % params.heads;
        query_at[row] = head * params.d4;
        var offset = 0.0;
        if (params.means > 0u) {
            for (var quad = 0u; quad < params.d4; quad++) {
                offset += dot(queries[head * params.d4 + quad], mean[kv_head * params.d4 + quad]);
            }
        }
        offsets[row] = offset * params.scale;
    }
    // Tokens of which a row sees some, and those up to its own.
    var seen: array<vec2<u32>, TM>;
    for (var i = 0u; i < TM; i++) {
        let own = spans[first_query + min(first_row + row_lane + i * DOWN, last_row) / params.heads];
        seen[i] = vec2(min(own.tokens, end), own.length);
    }
    var most: array<f32, TM>;
    for (var i = 0u; i < TM; i++) {
        most[i] = -HUGE;
    }
    var total: array<f32, TM>;
    var sum: array<array<vec4<f32>, PARTS>, TM>;
    let quads = DIM / 4u;

    for (var at = first; at < end; at += TILE) {
        if (lane < TILE) {
            places[lane] = place_of(tile, kv_head, span, min(at + lane, end - 1u));
        }
        workgroupBarrier();
        var logit: array<vec4<f32>, TM>;
        for (var chunk = 0u; chunk < params.d4 / 4u; chunk++) {
            for (var turn = 0u; turn < QUERY_TURNS; turn++) {
                let own = turn * WG + lane;
                let row = own / 4u;
                query_tile[own % 4u][row / DOWN][row % DOWN] = queries[query_at[row] + chunk * 4u + own % 4u];
            }
            for (var turn = 0u; turn < KEY_TURNS; turn++) {
                let own = turn * WG + lane;
                let token = own % TILE;
                let quad = own / TILE;
                let place = places[token];
                var key = values_of(KEY, chunk, quad, key_words(place, chunk, quad), 0u);
                if (is_kivi(KEY)) {
                    key = affine_by_channel(place, chunk * 4u + quad, key);
                } else if (has_groups(KEY)) {
                    key *= key_scale(place, chunk / 2u);
                }
                key_tile[quad][token % 4u][token / 4u] = key;
            }
            workgroupBarrier();
            for (var quad = 0u; quad < 4u; quad++) {
                var key: array<vec4<f32>, 4>;
                for (var j = 0u; j < 4u; j++) {
                    key[j] = key_tile[quad][j][column_lane];
                }
                for (var i = 0u; i < TM; i++) {
                    let query = query_tile[quad][i][row_lane];
                    logit[i] += vec4(dot(query, key[0]), dot(query, key[1]), dot(query, key[2]), dot(query, key[3]));
                }
            }
            workgroupBarrier();
        }
        let token = at + column_lane * 4u;
        var scale = vec4(params.scale);
        var position: vec4<u32>;
        for (var j = 0u; j < 4u; j++) {
            position[j] = position_of(span, min(token + j, end - 1u));
            if (KEY == FP8 || is_turbo(KEY)) {
                scale[j] *= key_scale(places[column_lane * 4u + j], 0u);
            }
        }
        for (var i = 0u; i < TM; i++) {
            var l = logit[i] * scale + offsets[row_lane + i * DOWN];
            if (params.soft_cap > 0.0) {
                l = params.soft_cap * (1.0 - 2.0 / (exp(2.0 * l / params.soft_cap) + 1.0));
            }
            for (var j = 0u; j < 4u; j++) {
                l[j] = select(-HUGE, l[j], token + j < seen[i].x && is_seen(position[j], seen[i].y));
            }
            logit[i] = l;
            of_lanes[row_lane + i * DOWN][column_lane] = max(max(l.x, l.y), max(l.z, l.w));
        }
        workgroupBarrier();
        for (var i = 0u; i < TM; i++) {
            var high = most[i];
            for (var other = 0u; other < ACROSS; other++) {
                high = max(high, of_lanes[row_lane + i * DOWN][other]);
            }
            let keep = exp(most[i] - high);
            let share = select(exp(logit[i] - high), vec4<f32>(), logit[i] == vec4(-HUGE));
            shares[column_lane][i][row_lane] = share;
            total[i] = total[i] * keep + (share.x + share.y + share.z + share.w);
            for (var part = 0u; part < PARTS; part++) {
                sum[i][part] *= keep;
            }
            most[i] = high;
        }
        for (var step = 0u; step < TILE; step += STEP) {
            for (var turn = 0u; turn < VALUE_TURNS; turn++) {
                let own = turn * WG + lane;
                let t = own / (PARTS * ACROSS);
                let quad = own % (PARTS * ACROSS);
                var value = vec4<f32>();
                if (quad < quads) {
                    let place = places[step + t];
                    let affine = value_affine(place, quad / 4u);
                    let words = value_words(place, quad / 4u, quad % 4u);
                    value = values_of(VALUE, quad / 4u, quad % 4u, words, 16u) * affine.x + affine.y;
                }
                value_tile[t][quad / ACROSS][quad % ACROSS] = value;
            }
            workgroupBarrier();
            for (var four = 0u; four < STEP / 4u; four++) {
                var share: array<vec4<f32>, TM>;
                for (var i = 0u; i < TM; i++) {
                    share[i] = shares[step / 4u + four][i][row_lane];
                }
                for (var t = 0u; t < 4u; t++) {
                    for (var part = 0u; part < PARTS; part++) {
                        if (part * ACROSS < quads) {
                            let value = value_tile[four * 4u + t][part][column_lane];
                            for (var i = 0u; i < TM; i++) {
                                sum[i][part] += share[i][t] * value;
                            }
                        }
                    }
                }
            }
            workgroupBarrier();
        }
    }

    for (var i = 0u; i < TM; i++) {
        of_lanes[row_lane + i * DOWN][column_lane] = total[i];
    }
    workgroupBarrier();
    for (var i = 0u; i < TM; i++) {
        let row = first_row + row_lane + i * DOWN;
        if (row < all_rows) {
            let query = (first_query + row / params.heads) * params.kv_heads + kv_head;
            let of_split = query * params.all_splits + params.first_split + split;
            let to = (of_split * params.heads + row % params.heads) * params.width;
            for (var part = 0u; part < PARTS; part++) {
                let quad = part * ACROSS + column_lane;
                if (quad < quads) {
                    partial[to + quad] = sum[i][part];
                }
            }
            if (column_lane == 0u) {
                var all = 0.0;
                for (var other = 0u; other < ACROSS; other++) {
                    all += of_lanes[row_lane + i * DOWN][other];
                }
                partial[to + quads] = vec4(most[i], all, 0.0, 0.0);
            }
        }
    }
}
