/*
 * load - MQTT clients by the thousand in one process, to measure a broker by.
 *
 * One epoll loop on one core; packets are encoded once and patched per message, so that the clients cost less than the
 * broker they load. This file is the command: its options, and the things it can do with clients (clients.c)
 * that talk through links (link.c) in packets (wire.c), put into frames (websocket.c) if that is asked for; and what
 * posts to an HTTP gateway (post.c).
 *
 * The result is one line of JSON on standard output. With --marks, a line "mark NAME" comes before it at each edge of
 * a measured phase, and the program waits for a line on standard input: time for a parent to look at the broker.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients.h"
#include "post.h"

static const char USAGE[] =
    "usage: load MODE --port PORT [options]\n"
    "\n"
    "stream: publishers and subscribers; publisher i publishes to topic i modulo the smaller of their numbers\n"
    "  --publishers N, --subscribers N   (1, 1) N:N are pairs, 1:N is a fan-out, N:1 a fan-in\n"
    "  --qos QOS        to publish and to subscribe with (0)\n"
    "  --window N       QoS 1 and 2: unacknowledged messages per publisher (20)\n"
    "  --backlog N      messages per publisher that did not reach all their subscribers yet (200): keeps the broker\n"
    "                   busy, but never flooded\n"
    "  --rate N         messages per second, all publishers together, whatever the broker does; 0 is as many as the\n"
    "                   two bounds allow (0)\n"
    "  --seconds S      publish for so long (5)\n"
    "  --pause-us N     rest so long between two looks at the sockets (0): a rest lets messages come in batches, as\n"
    "                   from many machines; latencies then include it\n"
    "  --payload BYTES  at least 16 (100)\n"
    "  --spread N       topics that each publisher uses in turn, below its own; subscribed to by a wildcard (1)\n"
    "offline: the same with subscribers whose sessions are kept: they leave before the first message, and come back\n"
    "  when all are acknowledged\n"
    "hold: connections that subscribe to a topic each and then do nothing\n"
    "  --connections N  (1000)\n"
    "  --seconds S      hold them for so long (5), at most 600\n"
    "push: connections that subscribe to one topic; messages are published there one by one\n"
    "  --connections N  (1000)\n"
    "  --messages N     (10)\n"
    "post: HTTP connections that post messages for a subscriber whose session is kept, and who is away\n"
    "  --gateway-port PORT    of the broker's gateway\n"
    "  --connections N  (1000), each with one request under way\n"
    "  --qos QOS        of the messages (0)\n"
    "  --seconds S      post for so long (5)\n"
    "\n"
    "any mode:\n"
    "  --address ADDR   of the broker, IPv4 (127.0.0.1)\n"
    "  --version 4|5    MQTT 3.1.1 or 5 (4)\n"
    "  --persistent     have the broker keep the sessions of subscribers\n"
    "  --ca FILE        speak TLS, and check the broker's certificate against this\n"
    "  --certificate FILE, --key FILE    what to show the broker; all PEM\n"
    "  --websocket      speak MQTT over WebSocket, with TLS below it if that is asked for, too\n"
    "  --per-frame N    packets that a WebSocket frame of ours holds, if so many are to be sent (1)\n"
    "  --marks          stop at the edges of measured phases, for a parent process to look at the broker\n";

enum { LONGEST_HOLD_S = 600 }; /* nobody sends pings */
/* Until the kernel has acknowledged the last SUBACK. It does so late (40 ms), and a broker that leaves Nagle's algorithm
   on holds a message back until then: seen in the latencies of young connections only. */
static const double SETTLE_S = 0.2;
static const uint64_t PUSH_PATIENCE = 10ull * SECOND; /* without a copy of a message arriving */
static const uint64_t DRAIN_PATIENCE = 2ull * SECOND; /* what is missing so long after all else was lost */

/* What only the modes below need to know; the rest is in `traffic`. */
static struct {
    int connections, messages, pause_us, gateway_port;
    double rate, seconds;
    bool marks;
} options = {.connections = 1000, .messages = 10, .seconds = 5};

static void mark(const char *name)
{
    if (!options.marks)
        return;
    printf("mark %s\n", name);
    fflush(stdout);
    while (getchar() != '\n')
        if (feof(stdin))
            die("standard input ended at mark %s", name);
}

static void turn_for(double seconds)
{
    for (uint64_t end_ns = now_ns() + seconds * SECOND; now_ns() < end_ns;)
        turn(10);
}

static void open_all_or_die(void)
{
    open_clients();
    if (counts.failed + counts.dropped)
        die("%d clients could not connect or subscribe", counts.failed + counts.dropped);
    turn_for(SETTLE_S);
}

static void print_counts(const char *mode)
{
    printf("{\"mode\": \"%s\", \"ready\": %d, \"failed\": %d, \"dropped\": %d, \"received\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", \"misordered\": %" PRIu64 ", \"refused\": %" PRIu64
           ", \"protocol_errors\": %" PRIu64,
           mode, counts.ready, counts.failed, counts.dropped, counts.received, undelivered_copies(),
           counts.duplicates, counts.misordered, counts.refused, counts.protocol_errors);
}

/* ---- stream ---- */

/* One message for each tick, the publishers in turn. */
static void publish_what_is_due(void)
{
    static int next;
    for (uint64_t due = take_ticks(); due; due--) {
        publish_one(next);
        next = (next + 1) % traffic.publishers;
    }
}

static void publish_for(double seconds)
{
    turn_ns = now_ns();
    uint64_t end_ns = turn_ns + seconds * SECOND;
    if (options.rate > 0)
        start_ticking(options.rate);
    while (turn_ns < end_ns) {
        options.rate > 0 ? publish_what_is_due() : publish_what_fits();
        if (options.pause_us)
            usleep(options.pause_us);
        turn(10);
    }
}

static void drain(void)
{
    progress_ns = turn_ns = now_ns();
    while ((undelivered_copies() || unacknowledged()) && turn_ns - progress_ns < DRAIN_PATIENCE)
        turn(10);
}

static void stream(void)
{
    make_clients();
    open_all_or_die();
    mark("begin");
    uint64_t begin_ns = now_ns();
    clock_t begin_cpu = clock();
    publish_for(options.seconds);
    drain();
    double seconds = (double)(progress_ns - begin_ns) / SECOND;
    double cpu_s = (double)(clock() - begin_cpu) / CLOCKS_PER_SEC;
    mark("end");
    print_counts("stream");
    printf(", \"seconds\": %.6f, \"load_cpu_s\": %.6f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
           seconds, cpu_s, latency_ms(0.5), latency_ms(0.99), latency_ms(1));
}

/* ---- offline ---- */

static void await_acknowledgements(void)
{
    progress_ns = turn_ns = now_ns();
    while (unacknowledged() && turn_ns - progress_ns < DRAIN_PATIENCE)
        turn(10);
}

static void offline(void)
{
    traffic.persistent = true;
    make_clients();
    open_all_or_die();
    subscribers_leave();
    turn_for(SETTLE_S);
    mark("begin");
    uint64_t begin_ns = now_ns();
    publish_for(options.seconds);
    await_acknowledgements();
    double seconds = (double)(progress_ns - begin_ns) / SECOND;
    mark("queued");
    begin_ns = now_ns();
    subscribers_return();
    drain();
    double return_s = (double)(progress_ns - begin_ns) / SECOND;
    mark("end");
    print_counts("offline");
    printf(", \"acknowledged\": %" PRIu64 ", \"seconds\": %.6f, \"return_seconds\": %.6f}\n", counts.acknowledged,
           seconds, return_s);
}

/* ---- post ---- */

static void post(void)
{
    struct poster poster = {
        .address = traffic.broker.address, .port = options.gateway_port, .connections = options.connections,
        .path = "/load%2F0", .qos = traffic.qos, .payload = traffic.payload};
    if (!options.gateway_port)
        die("--gateway-port is missing");
    traffic.persistent = true;
    traffic.publishers = 0;
    traffic.subscribers = 1;
    make_clients();
    open_all_or_die();
    subscribers_leave();
    turn_for(SETTLE_S);
    post_prepare(&poster);
    mark("begin");
    uint64_t begin_ns = now_ns();
    clock_t begin_cpu = clock();
    post_for(options.seconds);
    double seconds = (double)(now_ns() - begin_ns) / SECOND;
    double cpu_s = (double)(clock() - begin_cpu) / CLOCKS_PER_SEC;
    mark("end");
    counts.failed += posted.failed;
    counts.refused += posted.refused;
    print_counts("post");
    printf(", \"accepted\": %" PRIu64 ", \"seconds\": %.6f, \"load_cpu_s\": %.6f}\n", posted.accepted, seconds, cpu_s);
}

/* ---- hold ---- */

static void hold(void)
{
    if (options.seconds > LONGEST_HOLD_S)
        die("--seconds: at most %d, for nobody sends pings", LONGEST_HOLD_S);
    traffic.subscribers = options.connections;
    traffic.publishers = 0;
    make_clients();
    mark("begin");
    uint64_t begin_ns = now_ns();
    open_clients();
    double seconds = (double)(now_ns() - begin_ns) / SECOND;
    mark("ready");
    turn_for(options.seconds);
    mark("end");
    print_counts("hold");
    printf(", \"seconds\": %.6f}\n", seconds);
}

/* ---- push ---- */

static int ascending(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

/* Publish one message and wait for its last copy. Returns milliseconds. */
static double push_one(void)
{
    uint64_t wanted = counts.received + traffic.subscribers, begin_ns = now_ns();
    progress_ns = begin_ns;
    publish_one(0);
    while (counts.received < wanted && turn_ns - progress_ns < PUSH_PATIENCE)
        turn(100);
    return (now_ns() - begin_ns) / 1e6;
}

static void push(void)
{
    traffic.subscribers = options.connections;
    traffic.publishers = 1;
    make_clients();
    mark("begin");
    open_all_or_die();
    mark("ready");
    double ms[options.messages];
    for (int i = 0; i < options.messages; i++)
        ms[i] = push_one();
    mark("end");
    qsort(ms, options.messages, sizeof *ms, ascending);
    print_counts("push");
    printf(", \"median_ms\": %.3f, \"max_ms\": %.3f}\n", ms[options.messages / 2], ms[options.messages - 1]);
}

/* ---- options ---- */

enum kind { INTEGER, REAL, STRING, FLAG };

static const struct option_row {
    const char *name;
    enum kind kind;
    void *value;
    double least, most; /* of a number */
} OPTIONS[] = {
    {"publishers", INTEGER, &traffic.publishers, 1, 10000},
    {"subscribers", INTEGER, &traffic.subscribers, 1, 10000},
    {"qos", INTEGER, &traffic.qos, 0, 2},
    {"window", INTEGER, &traffic.window, 1, PACKET_IDS},
    {"backlog", INTEGER, &traffic.backlog, 1, 1e6},
    {"rate", REAL, &options.rate, 0, 1e6},
    {"seconds", REAL, &options.seconds, 0, 3600},
    {"pause-us", INTEGER, &options.pause_us, 0, 1e6},
    {"payload", INTEGER, &traffic.payload, sizeof(struct stamp), 100000},
    {"spread", INTEGER, &traffic.spread, 1, 10000},
    {"connections", INTEGER, &options.connections, 1, 1e6},
    {"gateway-port", INTEGER, &options.gateway_port, 1, 65535},
    {"messages", INTEGER, &options.messages, 1, 10000},
    {"address", STRING, &traffic.broker.address, 0, 0},
    {"port", INTEGER, &traffic.broker.port, 1, 65535},
    {"version", INTEGER, &traffic.broker.version, 4, 5},
    {"ca", STRING, &traffic.broker.ca, 0, 0},
    {"certificate", STRING, &traffic.broker.certificate, 0, 0},
    {"key", STRING, &traffic.broker.key, 0, 0},
    {"persistent", FLAG, &traffic.persistent, 0, 0},
    {"websocket", FLAG, &traffic.broker.websocket, 0, 0},
    {"per-frame", INTEGER, &traffic.broker.per_frame, 1, 1e6},
    {"marks", FLAG, &options.marks, 0, 0},
};
enum { OPTION_ROWS = sizeof OPTIONS / sizeof OPTIONS[0] };

static void set_number(const struct option_row *row, const char *argument)
{
    char *end;
    double number = strtod(argument, &end);
    if (end == argument || *end || number < row->least || number > row->most)
        die("--%s: %s is no number from %g to %g", row->name, argument, row->least, row->most);
    if (row->kind == INTEGER)
        *(int *)row->value = number;
    else
        *(double *)row->value = number;
}

static void set_option(const struct option_row *row, const char *argument)
{
    if (row->kind == FLAG)
        *(bool *)row->value = true;
    else if (row->kind == STRING)
        *(const char **)row->value = argument;
    else
        set_number(row, argument);
}

static void read_options(int argc, char **argv)
{
    struct option known[OPTION_ROWS + 1] = {0};
    for (int i = 0; i < OPTION_ROWS; i++)
        known[i] = (struct option){.name = OPTIONS[i].name, .has_arg = OPTIONS[i].kind != FLAG};
    int row, problem;
    while ((problem = getopt_long(argc, argv, "", known, &row)) != -1) {
        if (problem)
            exit(2); /* getopt_long has said why */
        set_option(&OPTIONS[row], optarg);
    }
    if (optind < argc)
        die("%s: unexpected", argv[optind]);
    if (!traffic.broker.port)
        die("--port is missing");
    if (!traffic.broker.certificate != !traffic.broker.key)
        die("--certificate and --key go together");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } MODES[] = {{"stream", stream}, {"offline", offline}, {"hold", hold}, {"push", push}, {"post", post}};

    for (size_t i = 0; argc > 1 && i < sizeof MODES / sizeof MODES[0]; i++) {
        if (strcmp(argv[1], MODES[i].name))
            continue;
        read_options(argc - 1, argv + 1);
        links_prepare(&traffic.broker);
        MODES[i].run();
        return 0;
    }
    fputs(USAGE, stderr);
    return 2;
}
