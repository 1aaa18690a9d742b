/* A Modbus RTU slave by libmodbus: slave PORT UNIT
 *
 * Holding registers 0..255 hold address * 3, except 100/101: a u32 (high word first) that rises by one at each
 * answered read of register 100. Input register 7 holds 0xBEEF, coil 3 is on. Prints "ready", ends when stdin ends.
 * Lines on stdin: "silent" stops the answers, "noise" sends line noise instead of them, "answer" goes back to them;
 * "? ADDRESS" prints what the holding register and the coil of that address hold.
 */
#include <errno.h>
#include <modbus.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNTER = 100, REGISTERS = 256 };

static int covers_counter(const uint8_t *query)
{
    int first = query[2] << 8 | query[3], count = query[4] << 8 | query[5];
    return query[1] == 3 && first <= COUNTER && COUNTER < first + count;
}

static void noise(int fd)
{
    static const uint8_t bytes[] = { 0x00, 0xff, 0x55, 0xaa, 0x13, 0x37, 0x80, 0x01, 0x7f };
    if (write(fd, bytes, sizeof bytes) < 0)
        exit(3);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    modbus_t *line = modbus_new_rtu(argv[1], 19200, 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(REGISTERS, REGISTERS, REGISTERS, REGISTERS);
    if (!line || !map || modbus_set_slave(line, atoi(argv[2])) || modbus_connect(line)) {
        fprintf(stderr, "slave: %s\n", modbus_strerror(errno));
        return 1;
    }
    for (int i = 0; i < REGISTERS; i++)
        map->tab_registers[i] = i * 3;
    map->tab_registers[COUNTER] = map->tab_registers[COUNTER + 1] = 0;
    map->tab_input_registers[7] = 0xBEEF;
    map->tab_bits[3] = 1;
    setbuf(stdin, NULL);
    puts("ready");
    fflush(stdout);

    char behave[16] = "answer";
    uint32_t counter = 0;
    struct pollfd ends[2] = { { 0, POLLIN, 0 }, { modbus_get_socket(line), POLLIN, 0 } };
    while (poll(ends, 2, -1) > 0) {
        if (ends[0].revents) {
            /* stdin is not buffered, so that poll() sees every line. */
            if (!fgets(behave, sizeof behave, stdin))
                break;
            behave[strcspn(behave, "\n")] = 0;
            if (behave[0] == '?') {
                int at = atoi(behave + 1) % REGISTERS;
                printf("%u %u\n", map->tab_registers[at], map->tab_bits[at]);
                fflush(stdout);
                strcpy(behave, "answer");
            }
        }
        if (!ends[1].revents)
            continue;
        uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
        int length = modbus_receive(line, query);
        if (length <= 0)
            continue; /* another unit's, or damaged */
        if (!strcmp(behave, "silent"))
            continue;
        if (!strcmp(behave, "noise")) {
            noise(ends[1].fd);
            continue;
        }
        if (covers_counter(query)) {
            counter++;
            map->tab_registers[COUNTER] = counter >> 16;
            map->tab_registers[COUNTER + 1] = counter & 0xffff;
        }
        modbus_reply(line, query, length, map);
    }
    modbus_mapping_free(map);
    modbus_free(line);
    return 0;
}
