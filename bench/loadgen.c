/* The load of bench.loadgen, in C: so many operations under way in so many sessions, on one thread, with epoll(7).
 *
 *     loadgen WARM_S SECONDS OUTSTANDING SESSIONS KEYS HOST:PORT...     hosts are IPv4 addresses
 *
 * It knows frames (src/phalanx/wire/frame.py) and the numbers in them, and nothing else of the protocol: on its standard
 * input are four lines with messages, as bench/loadgen.py makes them: hello, open, close, and the operation.  Each is
 *
 *     KIND REQUEST SESSION NUMBER LOW KEY BODY
 *
 * where KIND is the frame's, BODY is in hexadecimal digits, and the others say where in it each number is to be put (-1:
 * nowhere): 4, 8, 4 and 4 bytes, the high ones first, and five digits of the key.
 *
 * Operations that are declined, or not answered in the end, are errors; the places of those that are declined stay empty
 * for 0.1 s.  A connection that breaks, or an answer
 * that makes no sense, ends everything with a message and status 1.  In the end it prints a line of JSON: seconds, cpu (its
 * share of a core), errors, and the latencies in nanoseconds as the buckets of phalanx.lab.loadgen.histogram.  Checksums of
 * answers are not verified. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = 12,
    BODY_MAX = 8 << 20,
    TEMPLATE_MAX = 8 << 10,
    SESSIONS_MAX = 256,
    ENDPOINTS_MAX = 64,
    RING = 1 << 16,         /* requests from the oldest under way to the latest, of one session */
    IN_MAX = 1 << 18,       /* one read */
    OUT_MAX = 1 << 20,
    SHARE_MAX = 1024,       /* under way in one session: a node declines more */
    BUCKETS = 64 << 7,
};
#define SECOND 1000000000LL
static const int64_t PAUSE = SECOND / 10, PATIENCE = 5 * SECOND;

struct template {
    int kind, request, session, number, low, key, size;
    uint8_t body[TEMPLATE_MAX];
};

struct connection {
    int fd, share, held;
    int64_t held_until;
    uint64_t session;
    uint32_t request, number, low, under_way;
    int64_t started[RING];  /* by request; 0: not under way */
    uint32_t numbered[RING];
    uint8_t settled[RING];  /* by number */
    uint8_t *in;
    size_t filled;
};

static struct template hello, opening, closing, operation;
static struct connection connections[SESSIONS_MAX];
static int sessions, keys, epoll, measuring, ending;
static uint64_t counts[BUCKETS], most, errors;
static uint32_t checksums[256];

static void die(const char *format, ...) {
    va_list words;
    va_start(words, format);
    vfprintf(stderr, format, words);
    va_end(words);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static double used_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* --- frames ------------------------------------------------------------------------------------------------------ */

static void make_checksums(void) { /* CRC32C, reflected */
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        checksums[n] = c;
    }
}

static uint32_t checksum(const uint8_t *data, size_t size) {
    uint32_t c = ~0u;
    while (size--) c = checksums[(c ^ *data++) & 255] ^ c >> 8;
    return ~c;
}

static void put_little(uint8_t *at, uint32_t value) {
    for (int n = 0; n < 4; n++) at[n] = value >> 8 * n;
}

static uint32_t get_little(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

static void put_big(uint8_t *body, int at, uint64_t value, int size) {
    if (at >= 0)
        for (int n = 0; n < size; n++) body[at + n] = value >> 8 * (size - 1 - n);
}

static size_t add_frame(uint8_t *to, const struct template *of, struct connection *c, uint32_t number, int key) {
    uint8_t *body = to + HEADER;
    memcpy(body, of->body, of->size);
    put_big(body, of->request, c->request, 4);
    put_big(body, of->session, c->session, 8);
    put_big(body, of->number, number, 4);
    put_big(body, of->low, c->low, 4);
    if (of->key >= 0)
        for (int n = 4; n >= 0; n--, key /= 10) body[of->key + n] = '0' + key % 10;
    memcpy(to + 4, (uint8_t[]){'P', 'X', 1, of->kind}, 4);
    put_little(to + 8, of->size);
    put_little(to, checksum(to + 4, HEADER - 4 + of->size));
    return HEADER + of->size;
}

static void send_all(struct connection *c, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) die("cannot send: %s", strerror(errno));
        data += sent, size -= sent;
    }
}

/* --- what goes --------------------------------------------------------------------------------------------------- */

static void submit(struct connection *c, int count) {
    static uint8_t out[OUT_MAX];
    size_t size = 0;
    int64_t now = now_ns();
    for (; count; count--) {
        if (size + HEADER + operation.size > OUT_MAX) send_all(c, out, size), size = 0;
        int slot = ++c->request % RING;
        if (c->started[slot]) die("a request was never answered");
        uint32_t number = 0;
        if (operation.number >= 0) {
            number = ++c->number;
            if (number - c->low >= RING) die("a command was never answered");
            c->settled[number % RING] = 0;
        }
        c->started[slot] = now, c->numbered[slot] = number, c->under_way++;
        size += add_frame(out + size, &operation, c, number, rand() % keys);
    }
    send_all(c, out, size);
}

static void say(struct connection *c, const struct template *what) {
    uint8_t out[HEADER + TEMPLATE_MAX];
    c->request += what->request >= 0;
    send_all(c, out, add_frame(out, what, c, 0, 0));
}

/* --- what comes -------------------------------------------------------------------------------------------------- */

static uint64_t get_number(const uint8_t **at, const uint8_t *end) { /* of msgpack, not negative */
    if (*at < end && **at < 0x80) return *(*at)++;
    int size = *at < end && **at >= 0xcc && **at <= 0xcf ? 1 << (**at - 0xcc) : 0;
    if (!size || end - ++*at < size) die("an answer without its number");
    uint64_t value = 0;
    while (size--) value = value << 8 | *(*at)++;
    return value;
}

static int is_text(const uint8_t **at, const uint8_t *end, const char *text) { /* if it is, step over it */
    size_t size = strlen(text);
    if ((size_t)(end - *at) <= size || **at != (0xa0 | size) || memcmp(*at + 1, text, size)) return 0;
    *at += 1 + size;
    return 1;
}

static void count_latency(int64_t ns) {
    int shift = 0;
    while (ns >> shift >= 128) shift++;
    counts[shift ? ns >> shift | shift << 7 : ns]++;
    if ((uint64_t)ns > most) most = ns;
}

static int hear(struct connection *c, const uint8_t *body, size_t size, int64_t now) { /* how many have been answered */
    const uint8_t *at = body + 1, *end = body + size;
    if (size < 2 || (*body & 0xf0) != 0x90) die("an answer that is no message");
    if (is_text(&at, end, "c.opened")) {
        get_number(&at, end);
        c->session = get_number(&at, end);
        return 0;
    }
    int is_reply = is_text(&at, end, "c.reply");
    if (!is_reply && !is_text(&at, end, "c.declined")) return 0;
    int slot = get_number(&at, end) % RING;
    if (!c->started[slot]) {
        char words[200];
        size_t length = 0;
        for (; at < end && length < sizeof words - 1; at++) words[length++] = *at >= ' ' && *at <= '~' ? *at : ' ';
        words[length] = 0;
        die(is_reply ? "an answer to what was not asked" : "declined, before the session was open: %s", words);
    }
    int64_t took = now - c->started[slot];
    c->started[slot] = 0, c->under_way--;
    if (c->numbered[slot]) {
        c->settled[c->numbered[slot] % RING] = 1;
        while (c->low <= c->number && c->settled[c->low % RING]) c->low++;
    }
    if (is_reply && at < end && (*at++ & 0xf0) == 0x90 && is_text(&at, end, "=")) { /* replication.outcome.Returned */
        if (measuring) count_latency(took);
        return 1;
    }
    errors += measuring;
    c->held++, c->held_until = now + PAUSE;
    return 0;
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->filled, IN_MAX, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) die("a node has closed the connection: %s", got ? strerror(errno) : "end of file");
    c->filled += got;
    int64_t now = now_ns();
    int answered = 0;
    size_t at = 0;
    while (c->filled - at >= HEADER) {
        const uint8_t *frame = c->in + at;
        size_t size = get_little(frame + 8);
        if (frame[4] != 'P' || frame[5] != 'X' || size > BODY_MAX) die("what came is no frame");
        if (c->filled - at < HEADER + size) break;
        if (frame[7] == operation.kind) answered += hear(c, frame + HEADER, size, now);
        at += HEADER + size;
    }
    memmove(c->in, c->in + at, c->filled -= at);
    if (answered && !ending) submit(c, answered);
}

/* Until then, or, at the end, until nothing is under way any more. */
static void go_on(int64_t until, int is_end) {
    for (int64_t now; (now = now_ns()) < until;) {
        struct epoll_event ready[64];
        int64_t wait = until - now < PAUSE / 10 ? until - now : PAUSE / 10;
        int count = epoll_wait(epoll, ready, 64, (wait + 999999) / 1000000);
        for (int n = 0; n < count; n++) receive(ready[n].data.ptr);
        uint32_t under_way = 0;
        for (int n = 0; n < sessions; n++) {
            struct connection *c = &connections[n];
            if (c->held && !ending && now >= c->held_until) {
                int held = c->held;
                c->held = 0;
                submit(c, held);
            }
            under_way += c->under_way;
        }
        if (is_end && !under_way) return;
    }
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void read_template(struct template *t) {
    static char hex[2 * TEMPLATE_MAX + 1];
    if (scanf("%d %d %d %d %d %d %16384s", &t->kind, &t->request, &t->session, &t->number, &t->low, &t->key, hex) != 7)
        die("a message is missing");
    size_t digits = strlen(hex);
    if (digits == 2 * TEMPLATE_MAX) die("a message of more than %d bytes", TEMPLATE_MAX);
    for (size_t n = 0; n < digits; n += 2)
        if (sscanf(hex + n, "%2hhx", &t->body[n / 2]) != 1) die("a message that is not in hexadecimal digits");
    t->size = digits / 2;
}

static void dial(struct connection *c, const char *address) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *port = strrchr(address, ':');
    char host[INET_ADDRSTRLEN];
    if (!port || snprintf(host, sizeof host, "%.*s", (int)(port - address), address) >= (int)sizeof host ||
        inet_pton(AF_INET, host, &to.sin_addr) != 1)
        die("%s is no IPv4 address with a port", address);
    to.sin_port = htons(atoi(port + 1));
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("%s: %s", address, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
    c->low = 1;
    if (!(c->in = malloc(BODY_MAX + HEADER + IN_MAX))) die("no memory");
    say(c, &hello);
    say(c, &opening);
    for (int64_t end = now_ns() + PATIENCE; !c->session;) {
        if (now_ns() > end) die("%s opened no session", address);
        go_on(now_ns() + PAUSE / 100, 0);
    }
}

int main(int argc, char **argv) {
    if (argc < 7 || argc - 6 > ENDPOINTS_MAX) die("usage: %s WARM_S SECONDS OUTSTANDING SESSIONS KEYS HOST:PORT...", *argv);
    double warm_s = atof(argv[1]), seconds = atof(argv[2]);
    int outstanding = atoi(argv[3]), wanted = atoi(argv[4]);
    keys = atoi(argv[5]);
    if (wanted < 1 || wanted > SESSIONS_MAX) die("sessions: 1 to %d", SESSIONS_MAX);
    if (outstanding < 1 || (outstanding - 1) / wanted >= SHARE_MAX) die("under way in each session: 1 to %d", SHARE_MAX);
    if (keys < 1 || keys > 100000) die("keys: 1 to 100000");
    make_checksums();
    struct template *templates[] = {&hello, &opening, &closing, &operation};
    for (int n = 0; n < 4; n++) read_template(templates[n]);
    epoll = epoll_create1(0);
    srand(7);
    for (int n = 0; n < wanted; n++) {
        sessions = n + 1;
        connections[n].share = outstanding / wanted + (n < outstanding % wanted);
        dial(&connections[n], argv[6 + n % (argc - 6)]);
    }
    for (int n = 0; n < sessions; n++) submit(&connections[n], connections[n].share);
    go_on(now_ns() + (int64_t)(warm_s * SECOND), 0);
    measuring = 1;
    int64_t began = now_ns();
    double used = used_s();
    go_on(began + (int64_t)(seconds * SECOND), 0);
    double took = (now_ns() - began) / (double)SECOND, cpu = (used_s() - used) / took;
    measuring = 0, ending = 1;
    go_on(now_ns() + PATIENCE, 1);
    for (int n = 0; n < sessions; n++) errors += connections[n].under_way;
    for (int n = 0; n < sessions; n++) say(&connections[n], &closing), close(connections[n].fd);
    printf("{\"seconds\": %f, \"cpu\": %f, \"errors\": %" PRIu64 ", \"most\": %" PRIu64 ", \"counts\": {", took, cpu, errors, most);
    const char *comma = "";
    for (int n = 0; n < BUCKETS; n++)
        if (counts[n]) printf("%s\"%d\": %" PRIu64, comma, n, counts[n]), comma = ", ";
    puts("}}");
    return 0;
}
