/* The module banner, in C with nothing but a compiler: no library, no allocator, a JSON reader of a few lines.
 *
 *   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--export-memory -o banner.wasm banner.c
 *
 * It answers check and apply, and leaves capture and revert to shoal: what its manifest says that it provides. */

typedef unsigned int u32;

#define IMPORT(name) __attribute__((import_module("shoal_1"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(request) u32 request(void *at, u32 size);
IMPORT(operate) u32 operate(const void *at, u32 size);
IMPORT(answer) u32 answer(void *at, u32 size);
IMPORT(reply) void reply(const void *at, u32 size);

#define MAX 65536
static char asked[MAX], operation[MAX], got[MAX], out[MAX];

/* A text that grows up to MAX; what is longer is cut off, and full says so. */
struct text { char *at; u32 size; int full; };

static void put(struct text *t, const char *s, u32 n) {
    for (u32 i = 0; i < n; i++) {
        if (t->size + 1 >= MAX) { t->full = 1; return; }
        t->at[t->size++] = s[i];
    }
}

static u32 length(const char *s) { u32 n = 0; while (s[n]) n++; return n; }

static void say(struct text *t, const char *s) { put(t, s, length(s)); }

/* The JSON value after "key": at the first place where the key stands; a string with its quotes, else up to a comma or
 * bracket. Escapes are left as they are, since the value goes into JSON again. */
struct value { const char *at; u32 size; };

static int same(const char *a, const char *b, u32 n) {
    for (u32 i = 0; i < n; i++) if (a[i] != b[i]) return 0;
    return 1;
}

static u32 past_string(const char *s, u32 i, u32 n) {
    for (i++; i < n && s[i] != '"'; i++) if (s[i] == '\\') i++;
    return i + 1;
}

static struct value find(const char *s, u32 n, const char *key) {
    struct value v = {0, 0};
    u32 k = length(key);
    for (u32 i = 0; i < n; i++) {
        if (s[i] != '"') continue;
        u32 end = past_string(s, i, n);
        if (end - i == k + 2 && same(s + i + 1, key, k) && end < n && s[end] == ':') {
            u32 from = end + 1, to = from;
            if (s[from] == '"') to = past_string(s, from, n);
            else while (to < n && s[to] != ',' && s[to] != '}' && s[to] != ']') to++;
            v.at = s + from;
            v.size = to - from;
            return v;
        }
        i = end - 1;
    }
    return v;
}

static int is(struct value v, const char *text) { return v.size == length(text) && same(v.at, text, v.size); }

static void fail(struct text *t, const char *code, struct value message) {
    t->size = 0;
    say(t, "{\"error\":{\"code\":\""); say(t, code); say(t, "\",\"message\":");
    if (message.size) put(t, message.at, message.size); else say(t, "\"\"");
    say(t, "}}");
}

static void answer_to(const char *s, u32 n, struct text *t) {
    struct value phase = find(s, n, "phase"), path = find(s, n, "path"), text = find(s, n, "text"), mode = find(s, n, "mode");
    struct value none = {0, 0};
    int apply = is(phase, "\"apply\"");
    if (!apply && !is(phase, "\"check\"")) { fail(t, "unsupported", none); return; }
    struct text o = {operation, 0, 0};
    say(&o, apply ? "{\"op\":\"write\",\"path\":" : "{\"op\":\"differs\",\"path\":");
    put(&o, path.at, path.size);
    say(&o, ",\"mode\":"); put(&o, mode.at, mode.size);
    say(&o, ",\"text\":\"----------------------------------------\\n");
    if (text.size > 2) put(&o, text.at + 1, text.size - 2);
    say(&o, "\\n----------------------------------------\\n\"}");
    u32 size = operate(o.at, o.size);
    if (o.full || size > MAX) { fail(t, "limit", none); return; }
    answer(got, size);
    struct value failed = find(got, size, "error");
    if (failed.size) { fail(t, "failed", find(got, size, "message")); return; }
    int needed = is(find(got, size, "needed"), "true");
    say(t, needed ? "{\"needed\":true,\"diff\":" : "{\"needed\":false,\"diff\":");
    struct value diff = find(got, size, "diff");
    if (diff.size) put(t, diff.at, diff.size); else say(t, "\"\"");
    say(t, ",\"outputs\":{\"path\":"); put(t, path.at, path.size);
    say(t, needed ? ",\"changed\":true}}" : ",\"changed\":false}}");
}

EXPORT(shoal_call) void shoal_call(u32 size) {
    struct text t = {out, 0, 0};
    struct value none = {0, 0};
    if (size > MAX) fail(&t, "limit", none);
    else { request(asked, size); answer_to(asked, size, &t); }
    if (t.full) fail(&t, "limit", none);
    reply(t.at, t.size);
}
