/* Reads what the computer is to have, and what's to go wrong. README.md has the words. */
#include "fake.h"
#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 8

static struct script the_script;
static WCHAR read_from[TEXT_MAX];

static const char *const STATES[] = {
    "UNKNOWN", "STABLE", "WAITING_FOR_FREEZE", "WAITING_FOR_THAW", "WAITING_FOR_POST_SNAPSHOT",
    "WAITING_FOR_BACKUP_COMPLETE", "FAILED_AT_IDENTIFY", "FAILED_AT_PREPARE_BACKUP", "FAILED_AT_PREPARE_SNAPSHOT",
    "FAILED_AT_FREEZE", "FAILED_AT_THAW", "FAILED_AT_POST_SNAPSHOT", "FAILED_AT_BACKUP_COMPLETE",
};

static void wrong(const char *line)
{
    note("the script makes no sense: %s", line);
    ExitProcess(77);
}

/* Words of a line; quotes keep spaces together. */
static UINT split(char *line, char *words[WORDS_MAX])
{
    UINT count = 0;
    for (char *at = line; count < WORDS_MAX;) {
        at += strspn(at, " \t\r\n");
        if (!*at)
            break;
        char end = ' ';
        if (*at == '"') {
            end = '"';
            at++;
        }
        words[count++] = at;
        while (*at && *at != end && *at != '\n' && *at != '\r')
            at++;
        if (!*at)
            break;
        *at++ = 0;
    }
    return count;
}

static void widen(const char *word, WCHAR *out) { MultiByteToWideChar(CP_UTF8, 0, word, -1, out, TEXT_MAX); }

static HRESULT number(const char *word) { return (HRESULT)strtoul(word, NULL, 0); }

static BOOL has_word(char *words[], UINT count, const char *word)
{
    for (UINT index = 1; index < count; index++)
        if (!strcmp(words[index], word))
            return TRUE;
    return FALSE;
}

static void read_spec(struct file_spec *spec, char *words[], UINT count)
{
    widen(words[1], spec->path);
    widen(words[2], spec->pattern);
    spec->is_recursive = has_word(words, count, "recursive");
}

static void read_writer(char *words[], UINT count)
{
    UINT at = the_script.writer_count++;
    struct writer *writer = &the_script.writers[at];
    widen(words[1], writer->name);
    writer->id = (GUID){0xa65faa63, 0x5ea8, 0x4ebc, {0x9d, 0xbd, 0xa0, 0xc4, 0xdb, 0x26, 0x91, (BYTE)at}};
    writer->instance = (GUID){0x11112222, 0x3333, 0x4444, {0x55, 0x55, 0, 0, 0, 0, 0, (BYTE)(at + 1)}};
    writer->usage = has_word(words, count, "bootable") ? VSS_UT_BOOTABLESYSTEMSTATE
                    : has_word(words, count, "service") ? VSS_UT_SYSTEMSERVICE
                                                        : VSS_UT_USERDATA;
    writer->state = VSS_WS_STABLE;
}

static void read_state(struct writer *writer, char *words[], UINT count)
{
    for (UINT state = 0; state < sizeof STATES / sizeof *STATES; state++)
        if (!strcmp(words[1], STATES[state])) {
            writer->state = (VSS_WRITER_STATE)state;
            writer->failure = number(words[2]);
            writer->times = count > 3 ? atoi(words[3]) : FOR_EVER;
            return;
        }
    wrong(words[1]);
}

static void read_component(struct writer *writer, char *words[], UINT count)
{
    struct component *component = &writer->components[writer->component_count++];
    component->type = strcmp(words[1], "database") ? VSS_CT_FILEGROUP : VSS_CT_DATABASE;
    widen(words[2], component->logical_path);
    widen(words[3], component->name);
    component->is_selectable = has_word(words, count, "selectable");
}

static void read_fault(BOOL hangs, char *words[], UINT count)
{
    struct fault *fault = &the_script.faults[the_script.fault_count++];
    snprintf(fault->call, sizeof fault->call, "%s", words[1]);
    fault->hangs = hangs;
    fault->code = hangs ? S_OK : number(words[2]);
    fault->times = count > 3 ? atoi(words[3]) : FOR_EVER;
}

static void read_line(char *line)
{
    char *words[WORDS_MAX];
    UINT count = split(line, words);
    struct writer *writer = the_script.writer_count ? &the_script.writers[the_script.writer_count - 1] : NULL;
    struct component *component =
        writer && writer->component_count ? &writer->components[writer->component_count - 1] : NULL;
    if (!count || *words[0] == '#')
        return;
    if (!strcmp(words[0], "snapshots") && count == 2)
        widen(words[1], the_script.snapshots);
    else if (!strcmp(words[0], "unsupported") && count == 2 && the_script.unsupported_count < VOLUMES_MAX)
        widen(words[1], the_script.unsupported[the_script.unsupported_count++]);
    else if (!strcmp(words[0], "full") && count == 2 && the_script.full_count < VOLUMES_MAX)
        widen(words[1], the_script.full[the_script.full_count++]);
    else if (!strcmp(words[0], "fault") && count >= 3 && the_script.fault_count < FAULTS_MAX)
        read_fault(FALSE, words, count);
    else if (!strcmp(words[0], "hang") && count == 2 && the_script.fault_count < FAULTS_MAX)
        read_fault(TRUE, words, count);
    else if (!strcmp(words[0], "writer") && count >= 2 && the_script.writer_count < WRITERS_MAX)
        read_writer(words, count);
    else if (!strcmp(words[0], "state") && count >= 3 && writer)
        read_state(writer, words, count);
    else if (!strcmp(words[0], "exclude") && count >= 3 && writer && writer->exclude_count < FILES_MAX)
        read_spec(&writer->excludes[writer->exclude_count++], words, count);
    else if (!strcmp(words[0], "component") && count >= 4 && writer && writer->component_count < COMPONENTS_MAX)
        read_component(writer, words, count);
    else if (!strcmp(words[0], "file") && count >= 3 && component && component->file_count < FILES_MAX)
        read_spec(&component->files[component->file_count++], words, count);
    else if (!strcmp(words[0], "log") && count >= 3 && component && component->log_count < FILES_MAX)
        read_spec(&component->logs[component->log_count++], words, count);
    else
        wrong(words[0]);
}

struct script *script(void)
{
    WCHAR path[TEXT_MAX];
    char line[1024];
    DWORD len = GetEnvironmentVariableW(L"COFFER_FAKE_VSS_SCRIPT", path, TEXT_MAX);
    if (!len || len >= TEXT_MAX)
        return NULL;
    if (!wcscmp(path, read_from))
        return &the_script;
    FILE *file = _wfopen(path, L"r");
    if (!file)
        wrong("it can't be opened");
    memset(&the_script, 0, sizeof the_script);
    while (fgets(line, sizeof line, file))
        read_line(line);
    fclose(file);
    wcscpy(read_from, path);
    return &the_script;
}

static struct fault *found(const char *call, BOOL hangs)
{
    for (UINT index = 0; index < the_script.fault_count; index++) {
        struct fault *fault = &the_script.faults[index];
        if (!strcmp(fault->call, call) && fault->hangs == hangs && fault->times)
            return fault;
    }
    return NULL;
}

HRESULT fault(const char *call)
{
    struct fault *fault = found(call, FALSE);
    if (!fault)
        return S_OK;
    if (fault->times > 0)
        fault->times--;
    return fault->code;
}

BOOL hangs(const char *call) { return found(call, TRUE) != NULL; }
