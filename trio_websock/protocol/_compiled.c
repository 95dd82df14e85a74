/* The compiled twins of masking.apply_mask, scanning.parse_messages and serializing.serialize_frames.

   What they do and why is written there; here it is only done again, with the same verdicts and the same errors.
   Limited API: one build serves CPython 3.11 and every later one. Nothing is kept between two calls. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <string.h>

enum { FIN = 0x80, RSV1 = 0x40, WHOLE_TEXT = 0x81, WHOLE_BINARY = 0x82 };
enum { MASK_BIT = 0x80, LENGTH_16 = 126, LENGTH_64 = 127 };
enum { LONGEST = 0xFFFF, CHUNK_SIZE = 64 * 1024 };

/* Text is unmasked here before it is decoded, which makes its bytes an object only where they do not fit. */
enum { SCRATCH_SIZE = 4096 };

static void
mask(unsigned char *target, const unsigned char *source, Py_ssize_t size, const unsigned char *key)
{
    /* Eight octets at a time, which compilers turn into vectors; memcpy because neither side is aligned. */
    unsigned char twice[8];
    unsigned long long pattern, octets;
    Py_ssize_t i = 0;
    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(&pattern, twice, 8);
    for (; size - i >= 8; i += 8) {
        memcpy(&octets, source + i, 8);
        octets ^= pattern;
        memcpy(target + i, &octets, 8);
    }
    for (; i < size; i++)
        target[i] = source[i] ^ key[i & 3];
}

static int
check_count(const char *name, Py_ssize_t came, Py_ssize_t expected)
{
    if (came != expected)
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments: %zd came", name, expected, came);
    return came == expected;
}

static int
check_bytes(PyObject *object)
{
    if (!PyBytes_Check(object))
        PyErr_SetString(PyExc_TypeError, "expected bytes");
    return PyBytes_Check(object);
}

static PyObject *
apply_mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *masked;
    if (!check_count("apply_mask", count, 2) || !check_bytes(args[0]) || !check_bytes(args[1]))
        return NULL;
    if (PyBytes_Size(args[1]) != 4)
        return PyErr_Format(PyExc_ValueError, "a key of %zd bytes came: expected 4", PyBytes_Size(args[1]));
    masked = PyBytes_FromStringAndSize(NULL, PyBytes_Size(args[0]));
    if (masked != NULL && PyBytes_Size(masked) > 0) /* the empty bytes are shared, and there is nothing to write */
        mask((unsigned char *)PyBytes_AsString(masked), (const unsigned char *)PyBytes_AsString(args[0]),
             PyBytes_Size(masked), (const unsigned char *)PyBytes_AsString(args[1]));
    return masked;
}

/* `key` is NULL for an unmasked frame. */
static PyObject *
message_of(int text, const unsigned char *payload, Py_ssize_t size, const unsigned char *key, const char *errors)
{
    unsigned char scratch[SCRATCH_SIZE];
    PyObject *octets, *decoded;
    if (text && (key == NULL || size <= SCRATCH_SIZE)) {
        if (key != NULL) {
            mask(scratch, payload, size, key);
            payload = scratch;
        }
        return PyUnicode_DecodeUTF8((const char *)payload, size, errors);
    }
    octets = PyBytes_FromStringAndSize(key == NULL ? (const char *)payload : NULL, size);
    if (octets != NULL && key != NULL && size > 0)
        mask((unsigned char *)PyBytes_AsString(octets), payload, size, key);
    if (octets == NULL || !text)
        return octets;
    decoded = PyUnicode_DecodeUTF8(PyBytes_AsString(octets), size, errors);
    Py_DECREF(octets);
    return decoded;
}

static PyObject *
inflate_message(PyObject *inflate, int text, const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    PyObject *message = NULL, *octets = message_of(0, payload, size, key, NULL);
    if (octets != NULL)
        message = PyObject_CallFunctionObjArgs(inflate, octets, text ? Py_True : Py_False, NULL);
    Py_XDECREF(octets);
    return message;
}

static PyObject *
parse_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *buffer, *payload, *key;
    const char *errors;
    PyObject *inflate, *batch, *message;
    Py_ssize_t size, position, longest, most, start, length, parsed;
    int masked, compressed, first, refused;

    if (!check_count("parse_messages", count, 8) || !check_bytes(args[0]))
        return NULL;
    buffer = (const unsigned char *)PyBytes_AsString(args[0]);
    size = PyBytes_Size(args[0]);
    position = PyLong_AsSsize_t(args[1]);
    masked = PyObject_IsTrue(args[2]);
    longest = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    errors = PyUnicode_AsUTF8AndSize(args[4], NULL);
    most = PyLong_AsSsize_t(args[7]);
    if (PyErr_Occurred())
        return NULL;
    inflate = args[5];
    batch = args[6];
    if (!PyList_Check(batch)) {
        PyErr_SetString(PyExc_TypeError, "expected a list as the batch");
        return NULL;
    }
    if (position < 0 || position > size)
        return PyErr_Format(PyExc_ValueError, "position %zd came: expected one within %zd bytes", position, size);
    if (longest > LONGEST)
        longest = LONGEST;

    for (parsed = PyList_Size(batch); parsed < most; parsed++) {
        /* Every size is compared with what is left of the buffer, so that no sum can overflow. */
        start = masked ? 6 : 2;
        if (size - position < start)
            break;
        compressed = inflate != Py_None && buffer[position] & RSV1;
        first = compressed ? buffer[position] ^ RSV1 : buffer[position];
        if (first != WHOLE_TEXT && first != WHOLE_BINARY)
            break;
        length = buffer[position + 1] ^ (masked ? MASK_BIT : 0);
        if (length > LENGTH_16) /* eight bytes of length, or the wrong MASK bit */
            break;
        if (length == LENGTH_16) {
            start += 2;
            if (size - position < start)
                break;
            length = buffer[position + 2] << 8 | buffer[position + 3];
            if (length < LENGTH_16)
                break;
        }
        if (length > longest || length > size - position - start)
            break;
        payload = buffer + position + start;
        key = masked ? payload - 4 : NULL;
        message = compressed ? inflate_message(inflate, first == WHOLE_TEXT, payload, length, key)
                             : message_of(first == WHOLE_TEXT, payload, length, key, errors);
        if (message == NULL)
            return NULL;
        refused = PyList_Append(batch, message);
        Py_DECREF(message);
        if (refused)
            return NULL;
        position += start + length;
        if (compressed)
            break;
    }
    return PyLong_FromSsize_t(position);
}

/* What one item of serialize_frames's list becomes: `head` octets made here, 0 for a frame that is there already, and
   those of `payload`, which is borrowed. */
struct frame {
    int first;
    Py_ssize_t head, size;
    PyObject *payload;
};

static int
read_frame(PyObject *item, int masked, struct frame *frame)
{
    long first;
    if (PyBytes_Check(item)) {
        frame->first = frame->head = 0;
        frame->payload = item;
        frame->size = PyBytes_Size(item);
        return 1;
    }
    /* An int and nothing like one, whose own code would run here, and could change the list or its mind. */
    if (!PyTuple_Check(item) || PyTuple_Size(item) != 2 || !PyLong_Check(PyTuple_GetItem(item, 0)) ||
        !PyBytes_Check(PyTuple_GetItem(item, 1))) {
        PyErr_SetString(PyExc_TypeError, "expected bytes, or a first octet and bytes");
        return 0;
    }
    first = PyLong_AsLong(PyTuple_GetItem(item, 0));
    if (first < 0 || first > 0xFF) { /* or PyLong_AsLong has failed */
        PyErr_SetString(PyExc_ValueError, "bytes must be in range(0, 256)");
        return 0;
    }
    frame->first = (int)first | FIN;
    frame->payload = PyTuple_GetItem(item, 1);
    frame->size = PyBytes_Size(frame->payload);
    frame->head = 2 + (frame->size < LENGTH_16 ? 0 : frame->size <= 0xFFFF ? 2 : 8) + (masked ? 4 : 0);
    return 1;
}

/* Write all but the payload. */
static void
write_head(unsigned char *target, const struct frame *frame, const unsigned char *key)
{
    unsigned long long length = (unsigned long long)frame->size;
    int octets = length < LENGTH_16 ? 0 : length <= 0xFFFF ? 2 : 8, i;
    target[0] = (unsigned char)frame->first;
    target[1] = (unsigned char)(octets == 0 ? (int)length : octets == 2 ? LENGTH_16 : LENGTH_64);
    if (key != NULL)
        target[1] |= MASK_BIT;
    for (i = 0; i < octets; i++)
        target[2 + i] = (unsigned char)(length >> 8 * (octets - 1 - i));
    if (key != NULL)
        memcpy(target + 2 + octets, key, 4);
}

static unsigned char *
write_frame(unsigned char *target, const struct frame *frame, const unsigned char *key)
{
    const unsigned char *payload = (const unsigned char *)PyBytes_AsString(frame->payload);
    if (frame->head > 0)
        write_head(target, frame, key);
    if (frame->head > 0 && key != NULL)
        mask(target + frame->head, payload, frame->size, key);
    else
        memcpy(target + frame->head, payload, frame->size);
    return target + frame->head + frame->size;
}

/* Append a new reference to a list, or pass a failure on. */
static int
append(PyObject *list, PyObject *object)
{
    int appended = object != NULL && PyList_Append(list, object) == 0;
    Py_XDECREF(object);
    return appended;
}

/* One chunk of the frames from `start` to `end`, `size` octets in all. */
static PyObject *
join_frames(PyObject *frames, Py_ssize_t start, Py_ssize_t end, Py_ssize_t size, const unsigned char *keys)
{
    struct frame frame;
    unsigned char *target;
    PyObject *chunk = PyList_GetItem(frames, start);
    if (end - start == 1 && PyBytes_Check(chunk))
        return Py_NewRef(chunk);
    chunk = PyBytes_FromStringAndSize(NULL, size);
    if (chunk == NULL || size == 0)
        return chunk;
    target = (unsigned char *)PyBytes_AsString(chunk);
    for (; start < end; start++) {
        read_frame(PyList_GetItem(frames, start), keys != NULL, &frame); /* it has been read before */
        target = write_frame(target, &frame, keys == NULL ? NULL : keys + 4 * start);
    }
    return chunk;
}

/* A frame that shares its chunk with no other: a payload that needs no mask is not copied. */
static int
append_large(PyObject *chunks, PyObject *frames, Py_ssize_t index, const struct frame *frame, const unsigned char *keys)
{
    unsigned char head[10];
    if (frame->head > 0 && keys != NULL)
        return append(chunks, join_frames(frames, index, index + 1, frame->head + frame->size, keys));
    if (frame->head > 0) {
        write_head(head, frame, NULL);
        if (!append(chunks, PyBytes_FromStringAndSize((const char *)head, frame->head)))
            return 0;
    }
    return PyList_Append(chunks, frame->payload) == 0;
}

static int
append_chunks(PyObject *chunks, PyObject *frames, const unsigned char *keys)
{
    Py_ssize_t index, start = 0, size = 0, body, count = PyList_Size(frames);
    struct frame frame;
    for (index = 0; index < count; index++) {
        if (!read_frame(PyList_GetItem(frames, index), keys != NULL, &frame))
            return 0;
        body = frame.size + (keys == NULL ? 0 : frame.head);
        if (size + frame.head + frame.size > CHUNK_SIZE) {
            if (start < index && !append(chunks, join_frames(frames, start, index, size, keys)))
                return 0;
            start = index;
            size = 0;
        }
        if (body > CHUNK_SIZE) {
            if (!append_large(chunks, frames, index, &frame, keys))
                return 0;
            start = index + 1;
        } else
            size += frame.head + frame.size;
    }
    return start == count || append(chunks, join_frames(frames, start, count, size, keys));
}

static PyObject *
serialize_frames(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *keys = NULL;
    PyObject *chunks;
    if (!check_count("serialize_frames", count, 2))
        return NULL;
    if (!PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "expected a list of frames");
        return NULL;
    }
    if (args[1] != Py_None) {
        if (!check_bytes(args[1]))
            return NULL;
        if (PyBytes_Size(args[1]) != 4 * PyList_Size(args[0]))
            return PyErr_Format(PyExc_ValueError, "keys of %zd bytes came: expected %zd", PyBytes_Size(args[1]),
                                4 * PyList_Size(args[0]));
        keys = (const unsigned char *)PyBytes_AsString(args[1]);
    }
    chunks = PyList_New(0);
    if (chunks != NULL && !append_chunks(chunks, args[0], keys)) {
        Py_DECREF(chunks);
        return NULL;
    }
    return chunks;
}

static PyMethodDef methods[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     "apply_mask($module, data, key, /)\n--\n\nSee trio_websock.protocol.masking.apply_mask."},
    {"parse_messages", (PyCFunction)(void (*)(void))parse_messages, METH_FASTCALL,
     "parse_messages($module, buffer, position, masked, longest, errors, batch, most, /)\n--\n\n"
     "See trio_websock.protocol.scanning.parse_messages."},
    {"serialize_frames", (PyCFunction)(void (*)(void))serialize_frames, METH_FASTCALL,
     "serialize_frames($module, frames, keys, /)\n--\n\nSee trio_websock.protocol.serializing.serialize_frames."},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    PyObject *names = Py_BuildValue("[sss]", "apply_mask", "parse_messages", "serialize_frames");
    int failed = names == NULL || PyModule_AddObjectRef(module, "__all__", names) < 0;
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_compiled",
    .m_doc = "The compiled twins of masking.apply_mask, scanning.parse_messages and serializing.serialize_frames.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__compiled(void)
{
    return PyModuleDef_Init(&definition);
}
