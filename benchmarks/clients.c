/* Sets the clients up, drives them and counts; what the functions promise stands in clients.h. */
#define _GNU_SOURCE
#include "clients.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    OPENING_AT_ONCE = 64,     /* clients that connect or subscribe at the same time */
    KEEP_ALIVE_S = 1000,      /* above the longest run, so that no pings are needed */
    OUTPUT_BOUND = 64 * 1024, /* encode up to this before asking the kernel to take it */
    RECENT = 1024,            /* a message that is later than so many others counts as a duplicate */
    EVENTS = 1024,
};
static const uint64_t OPENING_PATIENCE = 10ull * SECOND; /* without any client becoming ready */

struct traffic traffic = {
    .broker = {.address = "127.0.0.1", .version = 4, .per_frame = 1},
    .publishers = 1,
    .subscribers = 1,
    .window = 20,
    .backlog = 200,
    .payload = 100,
    .spread = 1,
};
struct counts counts;
uint64_t turn_ns, progress_ns;

uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + time.tv_nsec;
}

/* ---- latencies: a histogram with 32 buckets to each power of two, so within 3 % ---- */

enum { STEPS = 32, STEP_BITS = 5, BUCKETS = 64 * STEPS };
static uint64_t latency_counts[BUCKETS], latencies;

static void note_latency(uint64_t ns)
{
    int exponent = ns < STEPS ? 0 : 63 - __builtin_clzll(ns) - STEP_BITS;
    latency_counts[exponent * STEPS + (ns >> exponent)]++;
    latencies++;
}

double latency_ms(double quantile)
{
    uint64_t below = latencies ? quantile * (latencies - 1) : 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += latency_counts[i];
        if (seen > below) {
            int exponent = i < 2 * STEPS ? 0 : i / STEPS - 1; /* undo what note_latency did */
            return (double)((uint64_t)(i - exponent * STEPS) << exponent) / 1e6;
        }
    }
    return 0;
}

/* ---- clients ---- */

enum phase { CLOSED, CONNECTING, SUBSCRIBING, READY, REFUSED };
enum flight { FREE, AWAITS_PUBACK, AWAITS_PUBREC, AWAITS_PUBCOMP };

struct publisher {
    struct publish_image *images; /* `traffic.spread` of them, used in turn */
    uint64_t sent, delivered; /* delivered counts each subscriber's copy */
    int inflight;
    uint16_t last_id;
    uint8_t flights[PACKET_IDS + 1]; /* enum flight, by packet id */
};

/* Which messages of one publisher came to one subscriber. */
struct heard {
    uint32_t next;           /* one above the highest number that came */
    uint8_t seen[RECENT / 8]; /* a bit for each of the RECENT numbers before `next` */
};

struct subscriber {
    struct heard *heard; /* by publisher, of those with this topic */
    uint8_t *unreleased; /* QoS 2: a bit for each packet id: PUBREC sent, PUBREL not yet come */
};

struct client {
    struct link link; /* first, so that a link's address is its client's */
    enum phase phase;
    int number;
    struct publisher *publisher;   /* NULL: publishes nothing */
    struct subscriber *subscriber; /* NULL: counts nothing */
    char *filter;                  /* NULL: subscribes to nothing */
};

static struct client *clients; /* first the subscribers, then the publishers */
static int client_count, opened, to_open, topics; /* those from `opened` to `to_open` are not yet opened */
static bool away; /* the subscribers are: nothing can arrive */
static int epoll_fd, timer_fd;
static uint64_t ticks; /* of the timer, not yet taken */

static __attribute__((format(printf, 1, 2))) char *text(const char *format, ...)
{
    char *made;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&made, format, arguments) < 0)
        die("out of memory");
    va_end(arguments);
    return made;
}

static void *zeroed(size_t count, size_t size)
{
    void *made = calloc(count, size);
    if (!made)
        die("out of memory");
    return made;
}

/* ---- the receiving side ---- */

/* Set a bit, or clear it, and tell what it was before. */
static bool exchange_bit(uint8_t *bits, uint32_t number, bool value)
{
    uint8_t mask = 1 << (number & 7);
    bool before = bits[number >> 3] & mask;
    bits[number >> 3] = value ? bits[number >> 3] | mask : bits[number >> 3] & ~mask;
    return before;
}

/* Whether this number comes for the first time. */
static bool note_number(struct heard *heard, uint32_t number)
{
    if (number < heard->next) {
        bool too_old = heard->next - number > RECENT;
        if (too_old || exchange_bit(heard->seen, number % RECENT, true))
            return false;
        counts.misordered++;
        return true;
    }
    while (heard->next < number) /* those that were skipped may still come */
        exchange_bit(heard->seen, heard->next++ % RECENT, false);
    exchange_bit(heard->seen, heard->next++ % RECENT, true);
    return true;
}

/* Read the stamp of one of our own messages; anything else is not for this client. */
static bool read_stamp(const struct client *client, const struct packet *packet, struct stamp *stamp)
{
    if (packet->payload_bytes != (size_t)traffic.payload || packet->qos > traffic.qos)
        return false;
    memcpy(stamp, packet->payload, sizeof *stamp);
    return stamp->publisher < (uint32_t)traffic.publishers
        && stamp->publisher % topics == (uint32_t)client->number % topics;
}

static void count_delivery(struct client *client, const struct stamp stamp)
{
    if (!note_number(&client->subscriber->heard[stamp.publisher / topics], stamp.number)) {
        counts.duplicates++;
        return;
    }
    clients[traffic.subscribers + stamp.publisher].publisher->delivered++;
    counts.received++;
    note_latency(turn_ns - stamp.sent_ns);
}

static void on_publish(struct client *client, const struct packet *packet)
{
    struct stamp stamp;
    if (!read_stamp(client, packet, &stamp)) {
        counts.protocol_errors++;
        return;
    }
    progress_ns = turn_ns;
    if (packet->qos == 1)
        append_acknowledgement(&client->link.out, PUBACK, packet->id);
    if (packet->qos == 2) {
        append_acknowledgement(&client->link.out, PUBREC, packet->id);
        if (exchange_bit(client->subscriber->unreleased, packet->id, true))
            return; /* sent again before its PUBREL: the same message (v3 §4.3.3) */
    }
    count_delivery(client, stamp);
}

static void on_pubrel(struct client *client, const struct packet *packet)
{
    if (!exchange_bit(client->subscriber->unreleased, packet->id, false))
        counts.protocol_errors++;
    append_acknowledgement(&client->link.out, PUBCOMP, packet->id);
}

/* ---- the publishing side ---- */

static uint16_t take_id(struct publisher *publisher)
{
    do {
        publisher->last_id = publisher->last_id % PACKET_IDS + 1;
    } while (publisher->flights[publisher->last_id] != FREE);
    publisher->flights[publisher->last_id] = traffic.qos == 1 ? AWAITS_PUBACK : AWAITS_PUBREC;
    publisher->inflight++;
    return publisher->last_id;
}

static void on_acknowledgement(struct client *client, const struct packet *packet)
{
    static const enum flight AWAITED[] = {
        [PUBACK] = AWAITS_PUBACK, [PUBREC] = AWAITS_PUBREC, [PUBCOMP] = AWAITS_PUBCOMP};
    struct publisher *publisher = client->publisher;
    if (packet->id > PACKET_IDS || publisher->flights[packet->id] != AWAITED[packet->type]) {
        counts.protocol_errors++;
        return;
    }
    progress_ns = turn_ns;
    counts.refused += packet->code >= 0x80;
    if (packet->type == PUBREC && packet->code < 0x80) {
        publisher->flights[packet->id] = AWAITS_PUBCOMP;
        append_acknowledgement(&client->link.out, PUBREL, packet->id);
    } else {
        publisher->flights[packet->id] = FREE;
        publisher->inflight--;
        counts.acknowledged++;
    }
}

/* How many subscribers get a copy of each message. */
static int copies(void)
{
    return traffic.subscribers / topics;
}

static bool may_publish(const struct publisher *publisher)
{
    if (traffic.qos && publisher->inflight >= traffic.window)
        return false;
    return away || publisher->sent * copies() - publisher->delivered <= (uint64_t)(traffic.backlog - 1) * copies();
}

/* Encode one message for the next flush. */
static void publish(struct client *client)
{
    struct publisher *publisher = client->publisher;
    struct stamp stamp = {turn_ns, client->number - traffic.subscribers, publisher->sent++};
    const struct publish_image *image = &publisher->images[stamp.number % traffic.spread];
    append_publish(&client->link.out, image, traffic.qos ? take_id(publisher) : 0, stamp);
}

/* ---- setting up ---- */

static void give_up_on(struct client *client)
{
    client->phase == READY ? counts.dropped++ : counts.failed++;
    counts.ready -= client->phase == READY;
    client->phase = CLOSED;
    link_close(&client->link);
}

static void become_ready(struct client *client)
{
    client->phase = READY;
    counts.ready++;
}

static void on_connack(struct client *client, const struct packet *packet)
{
    if (packet->code) {
        client->phase = REFUSED;
    } else if (client->filter) {
        append_subscribe(&client->link.out, traffic.broker.version, client->filter, traffic.qos);
        client->phase = SUBSCRIBING;
    } else {
        become_ready(client);
    }
}

static void on_suback(struct client *client, const struct packet *packet)
{
    if (packet->code >= 0x80)
        client->phase = REFUSED;
    else
        become_ready(client);
}

static void make_subscriber(struct client *client, int topic)
{
    client->filter = traffic.spread > 1 ? text("load/%d/+", topic) : text("load/%d", topic);
    client->subscriber = zeroed(1, sizeof *client->subscriber);
    if (traffic.publishers)
        client->subscriber->heard = zeroed(traffic.publishers / topics, sizeof *client->subscriber->heard);
    if (traffic.qos == 2)
        client->subscriber->unreleased = zeroed((1 << 16) / 8, 1);
}

static void make_publisher(struct client *client, int topic)
{
    client->publisher = zeroed(1, sizeof *client->publisher);
    client->publisher->images = zeroed(traffic.spread, sizeof *client->publisher->images);
    for (int i = 0; i < traffic.spread; i++) {
        char *name = traffic.spread > 1 ? text("load/%d/%d", topic, i) : text("load/%d", topic);
        client->publisher->images[i] = make_publish(traffic.broker.version, name, traffic.qos, traffic.payload);
        free(name);
    }
}

void make_clients(void)
{
    int subscribers = traffic.subscribers, publishers = traffic.publishers;
    topics = !publishers || subscribers < publishers ? subscribers : publishers;
    if (subscribers % topics || publishers % topics)
        die("of the numbers of publishers and subscribers one must divide the other");
    epoll_fd = epoll_create1(0);
    client_count = to_open = subscribers + publishers;
    clients = zeroed(client_count, sizeof *clients);
    for (int i = 0; i < client_count; i++) {
        clients[i].number = i;
        if (i < subscribers)
            make_subscriber(&clients[i], i % topics);
        else
            make_publisher(&clients[i], (i - subscribers) % topics);
    }
}

static void open_next(void)
{
    struct client *client = &clients[opened++];
    client->phase = CONNECTING;
    if (!link_open(&client->link, &traffic.broker, epoll_fd, client->number)) {
        give_up_on(client);
        return;
    }
    char *client_id = text("load-%d", client->number);
    bool persistent = traffic.persistent && client->subscriber;
    append_connect(&client->link.out, traffic.broker.version, client_id, KEEP_ALIVE_S, persistent);
    free(client_id);
}

static int settled(void)
{
    return counts.ready + counts.failed + counts.dropped;
}

/* How many are between the beginning of their connection and being ready. */
static int opening(void)
{
    return client_count - settled() - (to_open - opened);
}

void open_clients(void)
{
    uint64_t settled_ns = now_ns();
    while (settled() < client_count) {
        while (opened < to_open && opening() < OPENING_AT_ONCE)
            open_next();
        int before = settled();
        turn(100);
        if (settled() > before)
            settled_ns = turn_ns;
        if (turn_ns - settled_ns > OPENING_PATIENCE)
            die("no progress: %d of %d clients are ready, %d failed", counts.ready, client_count, counts.failed);
    }
}

/* ---- the loop ---- */

static void on_packet(struct link *link, const struct packet *packet)
{
    struct client *client = (struct client *)link;
    enum packet_type type = packet->type;
    if (type == PUBLISH && client->subscriber && traffic.publishers)
        on_publish(client, packet);
    else if (type == PUBREL && client->subscriber && traffic.qos == 2)
        on_pubrel(client, packet);
    else if ((type == PUBACK || type == PUBREC || type == PUBCOMP) && client->publisher)
        on_acknowledgement(client, packet);
    else if (type == CONNACK && client->phase == CONNECTING)
        on_connack(client, packet);
    else if (type == SUBACK && client->phase == SUBSCRIBING)
        on_suback(client, packet);
    else
        counts.protocol_errors++;
}

static void flush(struct client *client)
{
    if (!link_flush(&client->link, epoll_fd))
        give_up_on(client);
}

void subscribers_leave(void)
{
    for (int i = 0; i < traffic.subscribers; i++) {
        append_disconnect(&clients[i].link.out);
        link_flush(&clients[i].link, epoll_fd);
        link_close(&clients[i].link);
        clients[i].phase = CLOSED;
        free(clients[i].filter);
        clients[i].filter = NULL; /* the session has the subscription */
        counts.ready--;
    }
    away = true;
}

void subscribers_return(void)
{
    away = false;
    opened = 0;
    to_open = traffic.subscribers;
    open_clients();
}

static void serve(struct client *client, uint32_t events)
{
    bool alive = true;
    if (events & ~EPOLLOUT)
        alive = link_receive(&client->link, traffic.broker.version, on_packet);
    if (!alive || client->phase == REFUSED)
        give_up_on(client);
    else
        flush(client);
}

static void read_timer(void)
{
    uint64_t expired;
    if (read(timer_fd, &expired, sizeof expired) == sizeof expired)
        ticks += expired;
}

void turn(int timeout_ms)
{
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    turn_ns = now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr)
            serve(events[i].data.ptr, events[i].events);
        else
            read_timer();
    }
}

void start_ticking(double rate)
{
    uint64_t interval_ns = SECOND / rate;
    struct itimerspec every = {{interval_ns / SECOND, interval_ns % SECOND}, {0, 1}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    prctl(PR_SET_TIMERSLACK, 1); /* ns; the default of 50 us would show in the latencies */
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer_fd < 0 || timerfd_settime(timer_fd, 0, &every, NULL))
        die("no timer for this rate");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
}

uint64_t take_ticks(void)
{
    uint64_t taken = ticks;
    ticks = 0;
    return taken;
}

void publish_one(int i)
{
    struct client *client = &clients[traffic.subscribers + i];
    bool has_id = !traffic.qos || client->publisher->inflight < PACKET_IDS;
    if (client->phase != READY || !has_id)
        return;
    turn_ns = now_ns();
    publish(client);
    flush(client);
}

void publish_what_fits(void)
{
    for (int i = traffic.subscribers; i < client_count; i++) {
        struct client *client = &clients[i];
        while (client->phase == READY && link_is_clear(&client->link) && may_publish(client->publisher)) {
            do
                publish(client);
            while (may_publish(client->publisher) && client->link.out.len < OUTPUT_BOUND);
            flush(client);
        }
    }
}

uint64_t undelivered_copies(void)
{
    uint64_t missing = 0;
    for (int i = traffic.subscribers; i < client_count; i++)
        missing += clients[i].publisher->sent * copies() - clients[i].publisher->delivered;
    return missing;
}

bool unacknowledged(void)
{
    for (int i = traffic.subscribers; i < client_count; i++)
        if (clients[i].publisher->inflight)
            return true;
    return false;
}
