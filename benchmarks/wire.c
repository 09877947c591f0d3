/* Encoding and cutting of MQTT packets; what the functions promise stands in wire.h. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t NO_PROPERTIES = 0; /* the length of an empty property list (v5 §2.2.2) */

/* ---- writing ---- */

void append(struct bytes *out, const void *data, size_t len)
{
    if (out->len + len > out->room) {
        out->room = 2 * (out->len + len);
        out->at = realloc(out->at, out->room);
        if (!out->at)
            abort();
    }
    memcpy(out->at + out->len, data, len);
    out->len += len;
}

static void append_u8(struct bytes *out, uint8_t value)
{
    append(out, &value, 1);
}

static void append_u16(struct bytes *out, uint16_t value)
{
    uint8_t big_endian[2] = {value >> 8, value & 0xff};
    append(out, big_endian, sizeof big_endian);
}

static void append_text(struct bytes *out, const char *text)
{
    append_u16(out, strlen(text));
    append(out, text, strlen(text));
}

/* Put the fixed header before `body`, append both to `out` and free the body. */
static void append_framed(struct bytes *out, uint8_t first_byte, struct bytes body)
{
    append_u8(out, first_byte);
    size_t left = body.len;
    do {
        append_u8(out, (left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        left >>= 7;
    } while (left);
    append(out, body.at, body.len);
    free(body.at);
}

void append_connect(struct bytes *out, int version, const char *client_id, uint16_t keep_alive_s, bool persistent)
{
    static const uint8_t NEVER_EXPIRES[] = {5, 0x11, 0xff, 0xff, 0xff, 0xff}; /* v5 §3.1.2.11.2 */
    struct bytes body = {0};
    append_text(&body, "MQTT");
    append_u8(&body, version);
    append_u8(&body, persistent ? 0 : 0x02); /* whether the session is clean; no will, no user name */
    append_u16(&body, keep_alive_s);
    if (version >= 5 && persistent)
        append(&body, NEVER_EXPIRES, sizeof NEVER_EXPIRES);
    else if (version >= 5)
        append_u8(&body, NO_PROPERTIES);
    append_text(&body, client_id);
    append_framed(out, CONNECT << 4, body);
}

void append_disconnect(struct bytes *out)
{
    static const uint8_t PACKET[] = {DISCONNECT << 4, 0};
    append(out, PACKET, sizeof PACKET);
}

void append_subscribe(struct bytes *out, int version, const char *filter, int qos)
{
    struct bytes body = {0};
    append_u16(&body, 1); /* the only packet id a subscriber of ours ever needs */
    if (version >= 5)
        append_u8(&body, NO_PROPERTIES);
    append_text(&body, filter);
    append_u8(&body, qos);
    append_framed(out, SUBSCRIBE << 4 | 0x02, body);
}

void append_acknowledgement(struct bytes *out, enum packet_type type, uint16_t id)
{
    uint8_t flags = type == PUBREL ? 0x02 : 0; /* v3 [MQTT-3.6.1-1] */
    uint8_t packet[4] = {type << 4 | flags, 2, id >> 8, id & 0xff};
    append(out, packet, sizeof packet);
}

struct publish_image make_publish(int version, const char *topic, int qos, size_t payload_bytes)
{
    struct bytes body = {0};
    append_text(&body, topic);
    size_t id_in_body = body.len;
    if (qos)
        append_u16(&body, 0);
    if (version >= 5)
        append_u8(&body, NO_PROPERTIES);
    size_t payload_in_body = body.len;
    for (size_t i = 0; i < payload_bytes; i++)
        append_u8(&body, 'x');

    struct publish_image image = {0};
    size_t body_bytes = body.len;
    append_framed(&image.packet, PUBLISH << 4 | qos << 1, body);
    size_t header_bytes = image.packet.len - body_bytes;
    image.id_at = qos ? header_bytes + id_in_body : 0;
    image.stamp_at = header_bytes + payload_in_body;
    return image;
}

void append_publish(struct bytes *out, const struct publish_image *image, uint16_t id, struct stamp stamp)
{
    append(out, image->packet.at, image->packet.len);
    uint8_t *copy = out->at + out->len - image->packet.len;
    if (image->id_at) {
        copy[image->id_at] = id >> 8;
        copy[image->id_at + 1] = id & 0xff;
    }
    memcpy(copy + image->stamp_at, &stamp, sizeof stamp);
}

/* ---- reading ---- */

/* What is left of a packet's body while its fields are taken off the front. */
struct fields {
    const uint8_t *at;
    size_t left;
    bool short_of; /* a field reached over the end: the packet is malformed */
};

static const uint8_t *take(struct fields *fields, size_t len)
{
    static const uint8_t nothing[2];
    if (fields->left < len) {
        fields->short_of = true;
        return nothing;
    }
    const uint8_t *field = fields->at;
    fields->at += len;
    fields->left -= len;
    return field;
}

static uint16_t take_u16(struct fields *fields)
{
    const uint8_t *field = take(fields, 2);
    return field[0] << 8 | field[1];
}

static void skip_properties(struct fields *fields)
{
    size_t len = 0;
    for (int shift = 0; shift < 28; shift += 7) {
        uint8_t byte = *take(fields, 1);
        len |= (size_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    if (len <= fields->left)
        take(fields, len);
    else
        fields->short_of = true;
}

static void cut_publish(struct fields *fields, int version, struct packet *packet)
{
    size_t topic_bytes = take_u16(fields);
    if (topic_bytes <= fields->left)
        take(fields, topic_bytes);
    else
        fields->short_of = true;
    if (packet->qos)
        packet->id = take_u16(fields);
    if (version >= 5)
        skip_properties(fields);
    packet->payload = fields->at;
    packet->payload_bytes = fields->left;
}

static void cut_other(struct fields *fields, int version, struct packet *packet)
{
    if (packet->type == CONNACK)
        take(fields, 1); /* whether a session was present */
    else
        packet->id = take_u16(fields);
    if (packet->type == SUBACK && version >= 5)
        skip_properties(fields);
    if (fields->left) /* the other acknowledgements leave a success out */
        packet->code = *take(fields, 1);
}

static bool is_answer(enum packet_type type)
{
    return type == CONNACK || type == SUBACK || (type >= PUBACK && type <= PUBCOMP);
}

/* Read the Remaining Length (v3 §2.2.3). Returns the fixed header's length, 0 while it is not whole, or MALFORMED. */
static size_t read_header(const uint8_t *data, size_t len, size_t *remaining)
{
    *remaining = 0;
    for (size_t at = 1; at <= 4; at++) {
        if (at >= len)
            return 0;
        *remaining |= (size_t)(data[at] & 0x7f) << 7 * (at - 1);
        if (!(data[at] & 0x80))
            return at + 1;
    }
    return MALFORMED;
}

size_t packet_bytes(const uint8_t *data, size_t len)
{
    size_t remaining, header = read_header(data, len, &remaining);
    return header && header != MALFORMED ? header + remaining : header;
}

size_t cut_packet(const uint8_t *data, size_t len, int version, struct packet *packet)
{
    size_t body, at = read_header(data, len, &body);
    if (!at || at == MALFORMED)
        return at;
    if (len - at < body)
        return 0;

    struct fields fields = {data + at, body, false};
    *packet = (struct packet){.type = data[0] >> 4, .qos = data[0] >> 1 & 3};
    if (packet->type == PUBLISH)
        cut_publish(&fields, version, packet);
    else if (is_answer(packet->type))
        cut_other(&fields, version, packet);
    return fields.short_of ? MALFORMED : at + body;
}
