#include "probes/probe.h"

int probe_rows(const struct probe *probe)
{
    int count = 0;
    for (int i = 0; i < probe->server_count; i++)
        count += !server_is_copy(&probe->servers[i]);
    return count;
}

bool probe_start(const struct probe *probe, struct table *table, struct server *server)
{
    char trouble[SERVER_TEXT] = "";
    if (server_start(server, probe->machine->server_core, trouble, sizeof trouble) == 0)
        return true;
    table_trouble(table, server, trouble);
    servers_stop(server, 1);
    return false;
}
