/* The compiled twins of masking.apply_mask and scanning.parse_messages.

   What they do and why is written there; here it is only done again, with the same verdicts and the same errors.
   Limited API: one build serves CPython 3.11 and every later one. Nothing is kept between two calls. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <string.h>

enum { WHOLE_TEXT = 0x81, WHOLE_BINARY = 0x82, MASK_BIT = 0x80, LENGTH_16 = 126, LONGEST = 0xFFFF };

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
parse_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *buffer;
    const char *errors;
    PyObject *batch, *message;
    Py_ssize_t size, position, longest, most, start, length, parsed;
    int masked, refused;

    if (!check_count("parse_messages", count, 7) || !check_bytes(args[0]))
        return NULL;
    buffer = (const unsigned char *)PyBytes_AsString(args[0]);
    size = PyBytes_Size(args[0]);
    position = PyLong_AsSsize_t(args[1]);
    masked = PyObject_IsTrue(args[2]);
    longest = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    errors = PyUnicode_AsUTF8AndSize(args[4], NULL);
    most = PyLong_AsSsize_t(args[6]);
    if (PyErr_Occurred())
        return NULL;
    batch = args[5];
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
        if (size - position < start || (buffer[position] != WHOLE_TEXT && buffer[position] != WHOLE_BINARY))
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
        message = message_of(buffer[position] == WHOLE_TEXT, buffer + position + start, length,
                             masked ? buffer + position + start - 4 : NULL, errors);
        if (message == NULL)
            return NULL;
        refused = PyList_Append(batch, message);
        Py_DECREF(message);
        if (refused)
            return NULL;
        position += start + length;
    }
    return PyLong_FromSsize_t(position);
}

static PyMethodDef methods[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     "apply_mask($module, data, key, /)\n--\n\nSee trio_websock.protocol.masking.apply_mask."},
    {"parse_messages", (PyCFunction)(void (*)(void))parse_messages, METH_FASTCALL,
     "parse_messages($module, buffer, position, masked, longest, errors, batch, most, /)\n--\n\n"
     "See trio_websock.protocol.scanning.parse_messages."},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    PyObject *names = Py_BuildValue("[ss]", "apply_mask", "parse_messages");
    int failed = names == NULL || PyModule_AddObjectRef(module, "__all__", names) < 0;
    Py_XDECREF(names);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_compiled",
    .m_doc = "The compiled twins of masking.apply_mask and scanning.parse_messages.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__compiled(void)
{
    return PyModuleDef_Init(&definition);
}
