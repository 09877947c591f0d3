/*
 * The packets of MQTT 3.1.1 and 5 that a load generator sends and reads.
 *
 * Bytes in, bytes out: nothing here knows a socket. Only what a client needs is written, only what a broker
 * sends is cut; properties of version 5 are skipped when read, and but for one sent empty.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum packet_type { CONNECT = 1, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, DISCONNECT = 14 };

/* A growing row of bytes; those before `taken` were consumed already. */
struct bytes {
    uint8_t *at;
    size_t len, taken, room;
};

void append(struct bytes *out, const void *data, size_t len);
/* With `persistent`, the broker keeps the session for good after the connection's end. */
void append_connect(struct bytes *out, int version, const char *client_id, uint16_t keep_alive_s, bool persistent);
void append_disconnect(struct bytes *out);
void append_subscribe(struct bytes *out, int version, const char *filter, int qos);
void append_acknowledgement(struct bytes *out, enum packet_type type, uint16_t id);

/* The first bytes of every payload. In host order: they are read by the program that wrote them. */
struct stamp {
    uint64_t sent_ns;
    uint32_t publisher, number; /* which publisher, and the how-manieth message of it, from 0 */
};

/* A PUBLISH encoded once; packet id and stamp are patched into each copy. */
struct publish_image {
    struct bytes packet;
    size_t id_at, stamp_at; /* `id_at` 0: QoS 0 has no packet id */
};

struct publish_image make_publish(int version, const char *topic, int qos, size_t payload_bytes);
void append_publish(struct bytes *out, const struct publish_image *image, uint16_t id, struct stamp stamp);

struct packet {
    enum packet_type type;
    int qos;      /* of a PUBLISH */
    uint16_t id;  /* 0 where the packet has none */
    uint8_t code; /* of CONNACK, SUBACK (its first) and the acknowledgements: from 0x80 on a refusal */
    const uint8_t *payload;
    size_t payload_bytes;
};

#define MALFORMED SIZE_MAX

/* The whole length of the packet that starts at `data`, 0 while that cannot be told, or MALFORMED. */
size_t packet_bytes(const uint8_t *data, size_t len);

/*
 * Cut the packet at the start of `data`.
 * Returns its whole length, 0 while its end has not arrived, or MALFORMED.
 */
size_t cut_packet(const uint8_t *data, size_t len, int version, struct packet *packet);

#endif
