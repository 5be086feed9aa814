// SPDX-License-Identifier: MIT
/*
 * The C half of the Python package: one method per function of libchipboot, on the
 * stable ABI.  Everything that can be said in Python is said in Python, beside
 * this file; _chipboot.pyi has the types.
 *
 * Called by the package's modules.  The library's objects are linked in.
 *
 * Threads and forks.  A handle in use by one thread (GIL released) may be closed by
 * another: it is freed when the last user leaves.  Users that a fork has left
 * behind in the parent do not count in the child.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <chipboot.h>
#include <chipboot_mailbox.h>
/* For cb_publisher_wrap() and cb_observer_wrap(): a handle of a descriptor. */
#include "internal.h"

static PyObject *error_class;
static PyObject *protocol_error_class;
static PyTypeObject *session_type, *publisher_type, *observer_type;
static PyTypeObject *mailbox_type;

/* Guarded by the GIL: which process of a line of forks this is. */
static unsigned int generation_of_process;

static void in_forked_child(void)
{
	generation_of_process++;
}

/* ---- errors and text ---- */

static PyObject *fail(int error)
{
	char text[512];
	PyObject *class = error == -EPROTO ? protocol_error_class : error_class;
	PyObject *message, *value;

	chipboot_explain(error, text, sizeof(text));
	message = PyUnicode_DecodeLocale(text, "surrogateescape");
	value = message ? Py_BuildValue("(iN)", -error, message) : NULL;
	if (value) {
		PyErr_SetObject(class, value);
		Py_DECREF(value);
	}
	return NULL;
}

static PyObject *none_or_fail(int ret)
{
	if (ret < 0)
		return fail(ret);
	Py_RETURN_NONE;
}

static PyObject *decode(const char *text, Py_ssize_t length)
{
	return PyUnicode_DecodeUTF8(text, length, "surrogateescape");
}

/* "O&": a str as UTF-8 bytes in which surrogates are the bytes they stand for. */
static int encode(PyObject *text, void *bytes)
{
	PyObject *encoded;

	if (!PyUnicode_Check(text)) {
		PyErr_SetString(PyExc_TypeError, "the text must be a str");
		return 0;
	}
	encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogateescape");
	if (!encoded)
		return 0;
	if (strlen(PyBytes_AsString(encoded)) !=
	    (size_t)PyBytes_Size(encoded)) {
		Py_DECREF(encoded);
		PyErr_SetString(PyExc_ValueError,
				"the text has a NUL character in it");
		return 0;
	}
	*(PyObject **)bytes = encoded;
	return 1;
}

/* "O&": an int of 0 to 2**64 - 1. */
static int as_u64(PyObject *number, void *value)
{
	unsigned long long got = PyLong_AsUnsignedLongLong(number);

	if (got == ULLONG_MAX && PyErr_Occurred())
		return 0;
	*(uint64_t *)value = got;
	return 1;
}

/* "O&": an int of 0 to 2**32 - 1. */
static int as_u32(PyObject *number, void *value)
{
	unsigned long long got = PyLong_AsUnsignedLongLong(number);

	if (got == ULLONG_MAX && PyErr_Occurred())
		return 0;
	if (got > UINT32_MAX) {
		PyErr_SetString(PyExc_OverflowError,
				"the number is not in 0 to 2**32 - 1");
		return 0;
	}
	*(uint32_t *)value = got;
	return 1;
}

/*
 * Buffer pointers as an array that the caller frees; *@count may be more than any
 * answer has room for.
 */
static uint64_t *as_words(PyObject *sequence, Py_ssize_t *count)
{
	PyObject *list = PySequence_List(sequence);
	uint64_t *words;
	Py_ssize_t i;

	if (!list)
		return NULL;
	*count = PyList_Size(list);
	words = PyMem_Malloc((*count ? *count : 1) * sizeof(*words));
	if (!words)
		PyErr_NoMemory();
	for (i = 0; words && i < *count; i++)
		if (!as_u64(PyList_GetItem(list, i), &words[i])) {
			PyMem_Free(words);
			words = NULL;
		}
	Py_DECREF(list);
	return words;
}

static PyObject *from_words(const uint64_t *words, int count)
{
	PyObject *tuple = PyTuple_New(count);
	int i;

	for (i = 0; tuple && i < count; i++) {
		PyObject *word = PyLong_FromUnsignedLongLong(words[i]);

		if (!word || PyTuple_SetItem(tuple, i, word) < 0) {
			Py_DECREF(tuple);
			return NULL;
		}
	}
	return tuple;
}

/* ---- handles ---- */

struct handle {
	PyObject_HEAD
	void *it;			/* NULL: closed */
	void *closing;			/* closed while in use: not freed yet */
	void (*close)(void *it);
	unsigned int users;
	unsigned int users_of;		/* the generation_of_process they are of */
};

static void close_session(void *it)
{
	chipboot_session_close(it);
}

static void close_publisher(void *it)
{
	chipboot_publisher_close(it);
}

static void close_observer(void *it)
{
	chipboot_observer_close(it);
}

static struct handle *new_handle(PyTypeObject *type, void *it,
				 void (*close)(void *))
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	struct handle *handle = (struct handle *)alloc(type, 0);

	if (!handle) {
		close(it);
		return NULL;
	}
	handle->it = it;
	handle->close = close;
	return handle;
}

static void forget_users(struct handle *handle)
{
	if (handle->users_of != generation_of_process) {
		handle->users_of = generation_of_process;
		handle->users = 0;
	}
}

static void *enter(struct handle *handle)
{
	if (!handle->it) {
		PyErr_SetString(PyExc_ValueError, "the handle is closed");
		return NULL;
	}
	forget_users(handle);
	handle->users++;
	return handle->it;
}

static void leave(struct handle *handle)
{
	forget_users(handle);
	if (handle->users)
		handle->users--;
	if (!handle->users && handle->closing) {
		void *it = handle->closing;

		handle->closing = NULL;
		handle->close(it);
	}
}

static PyObject *handle_close(PyObject *self, PyObject *unused)
{
	struct handle *handle = (struct handle *)self;
	void *it = handle->it;

	(void)unused;
	forget_users(handle);
	handle->it = NULL;
	if (it && handle->users)
		handle->closing = it;
	else if (it)
		handle->close(it);
	Py_RETURN_NONE;
}

static void handle_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	struct handle *handle = (struct handle *)self;

	/* Whoever uses it holds a reference: nobody does. */
	if (handle->it)
		handle->close(handle->it);
	if (handle->closing)
		handle->close(handle->closing);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *handle_closed(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!((struct handle *)self)->it);
}

/* The observer that a Session or an Observer reads with. */
static struct chipboot_observer *observer_of(PyObject *self, void *it)
{
	struct chipboot_observer *observer = it;

	if (PyType_IsSubtype(Py_TYPE(self), session_type))
		observer = chipboot_session_observer(it);
	if (!observer || chipboot_observer_fd(observer) < 0) {
		fail(-EBADF);
		return NULL;
	}
	return observer;
}

/* Enter @self and take its observer; NULL with an exception set. */
static struct chipboot_observer *enter_observer(PyObject *self)
{
	struct handle *handle = (struct handle *)self;
	void *it = enter(handle);
	struct chipboot_observer *observer;

	if (!it)
		return NULL;
	observer = observer_of(self, it);
	if (!observer)
		leave(handle);
	return observer;
}

static PyObject *info_tuple(const struct chipboot_info *info)
{
	return Py_BuildValue("(KKKIIIIIIIiII)",
		(unsigned long long)info->session_id,
		(unsigned long long)info->now_ns,
		(unsigned long long)info->deadline_ns,
		info->channels, info->idle, info->success, info->error,
		info->gone, info->first_failed, info->owner_state,
		info->owner_pid, info->events, info->holds);
}

/* ---- what sessions and observers share ---- */

static PyObject *observing_read(PyObject *self, PyObject *args)
{
	struct chipboot_observer *observer;
	struct chipboot_answer answer;
	PyObject *words, *text;
	uint32_t channel;
	int ret;

	if (!PyArg_ParseTuple(args, "O&:_read", as_u32, &channel))
		return NULL;
	observer = enter_observer(self);
	if (!observer)
		return NULL;
	ret = chipboot_read(observer, channel, &answer);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	words = from_words(answer.words, answer.count);
	text = decode(answer.message, strlen(answer.message));
	if (!words || !text) {
		Py_XDECREF(words);
		Py_XDECREF(text);
		return NULL;
	}
	return Py_BuildValue("(IiiKKKNNiiIIKii)", channel, answer.state,
		answer.error_code, (unsigned long long)answer.device_ctx,
		(unsigned long long)answer.window_base,
		(unsigned long long)answer.window_size, words, text,
		answer.origin, answer.flags, answer.order, answer.generation,
		(unsigned long long)answer.updated_ns, answer.publisher_pid,
		answer.wait_status);
}

static PyObject *observing_state(PyObject *self, PyObject *args)
{
	struct chipboot_observer *observer;
	uint32_t channel;
	int ret;

	if (!PyArg_ParseTuple(args, "O&:_state", as_u32, &channel))
		return NULL;
	observer = enter_observer(self);
	if (!observer)
		return NULL;
	ret = chipboot_state(observer, channel);
	leave((struct handle *)self);
	return ret < 0 ? fail(cb_error(CB_READ, ret)) : PyLong_FromLong(ret);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/*
 * Interrupted by each signal, so that its Python handler runs at once, and resumed
 * for the rest of the time unless that raised.
 */
static PyObject *observing_wait(PyObject *self, PyObject *args)
{
	struct chipboot_observer *observer;
	uint32_t flags = CHIPBOOT_WAIT_INTERRUPTIBLE;
	int64_t until = INT64_MAX;
	long long timeout;
	uint32_t count;
	int fail_fast;
	int ret;

	if (!PyArg_ParseTuple(args, "O&Lp:_wait", as_u32, &count, &timeout,
			      &fail_fast))
		return NULL;
	observer = enter_observer(self);
	if (!observer)
		return NULL;
	if (fail_fast)
		flags |= CHIPBOOT_WAIT_FAIL_FAST;
	if (timeout >= 0 && __builtin_add_overflow(now_ns(), timeout, &until))
		until = INT64_MAX;
	for (;;) {
		int64_t left = CHIPBOOT_FOREVER;

		if (timeout >= 0) {
			left = until - now_ns();
			if (left < 0)
				left = 0;
		}
		Py_BEGIN_ALLOW_THREADS
		ret = chipboot_wait(observer, count, left, 0, flags);
		Py_END_ALLOW_THREADS
		if (ret != -EINTR)
			break;
		if (PyErr_CheckSignals() < 0) {
			leave((struct handle *)self);
			return NULL;
		}
	}
	leave((struct handle *)self);
	return ret < 0 ? fail(ret) : PyLong_FromLong(ret);
}

static PyObject *observing_info(PyObject *self, PyObject *args)
{
	struct chipboot_observer *observer;
	struct chipboot_info info;
	int acknowledge = 0;
	int ret;

	if (!PyArg_ParseTuple(args, "|p:_info", &acknowledge))
		return NULL;
	observer = enter_observer(self);
	if (!observer)
		return NULL;
	ret = chipboot_observer_info(observer, acknowledge ? CHIPBOOT_ACK : 0,
				     &info);
	leave((struct handle *)self);
	return ret < 0 ? fail(ret) : info_tuple(&info);
}

/* The channels that are IDLE, all at one moment. */
static PyObject *observing_pending(PyObject *self, PyObject *unused)
{
	struct chipboot_observer *observer = enter_observer(self);
	uint64_t bitmap[1024];
	PyObject *list;
	uint32_t n, i;
	int ret;

	(void)unused;
	if (!observer)
		return NULL;
	n = chipboot_observer_channels(observer);
	ret = chipboot_observer_pending(observer, bitmap, (n + 63) / 64);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	list = PyList_New(0);
	for (i = 0; list && i < n; i++) {
		PyObject *number;
		int bad;

		if (!(bitmap[i / 64] >> i % 64 & 1))
			continue;
		number = PyLong_FromUnsignedLong(i);
		bad = !number || PyList_Append(list, number) < 0;
		Py_XDECREF(number);
		if (bad) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static PyObject *observing_channel_info(PyObject *self, PyObject *args)
{
	struct chipboot_channel info;
	struct chipboot_observer *observer;
	uint32_t channel;
	int ret;

	if (!PyArg_ParseTuple(args, "O&:_channel_info", as_u32, &channel))
		return NULL;
	observer = enter_observer(self);
	if (!observer)
		return NULL;
	ret = chipboot_channel_info(observer, channel, &info);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	return Py_BuildValue("(IIiO)", info.state, info.generation, info.pid,
			     info.bound ? Py_True : Py_False);
}

static PyObject *observing_observe(PyObject *self, PyObject *args)
{
	struct chipboot_observer *observer;
	PyObject *class;
	uint32_t events;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O!O&:_observe", &PyType_Type, &class,
			      as_u32, &events))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	if (PyType_IsSubtype(Py_TYPE(self), session_type))
		ret = chipboot_session_observe(it, events, &observer);
	else
		ret = chipboot_observer_observe(it, events, &observer);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	return (PyObject *)new_handle((PyTypeObject *)class, observer,
				      close_observer);
}

#define OBSERVING_METHODS \
	{ "_read", observing_read, METH_VARARGS, NULL }, \
	{ "_state", observing_state, METH_VARARGS, NULL }, \
	{ "_wait", observing_wait, METH_VARARGS, NULL }, \
	{ "_info", observing_info, METH_VARARGS, NULL }, \
	{ "_pending", observing_pending, METH_NOARGS, NULL }, \
	{ "_channel_info", observing_channel_info, METH_VARARGS, NULL }, \
	{ "_observe", observing_observe, METH_VARARGS, NULL }, \
	{ "close", handle_close, METH_NOARGS, \
	  "Close this process's copy; again is harmless." }

static PyGetSetDef handle_getset[] = {
	{ "closed", handle_closed, NULL, "True after close().", NULL },
	{ 0 }
};

/* ---- Session ---- */

static PyObject *session_new(PyTypeObject *type, PyObject *args, PyObject *keys)
{
	static char *names[] = { "channels", NULL };
	struct chipboot_session *session;
	uint32_t channels;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, keys, "O&:Session", names,
					 as_u32, &channels))
		return NULL;
	ret = chipboot_session_create(&session, channels);
	if (ret < 0)
		return fail(ret);
	return (PyObject *)new_handle(type, session, close_session);
}

static PyObject *session_fileno(PyObject *self, PyObject *unused)
{
	void *it = enter((struct handle *)self);
	int fd;

	(void)unused;
	if (!it)
		return NULL;
	fd = chipboot_session_fd(it);
	leave((struct handle *)self);
	return fd < 0 ? fail(-EBADF) : PyLong_FromLong(fd);
}

static PyObject *session_claim(PyObject *self, PyObject *args)
{
	struct chipboot_publisher *publisher;
	PyObject *class;
	uint32_t channel;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O!O&:_claim", &PyType_Type, &class,
			      as_u32, &channel))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	ret = chipboot_session_claim(it, channel, &publisher);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	return (PyObject *)new_handle((PyTypeObject *)class, publisher,
				      close_publisher);
}

static PyObject *two_handles(PyObject *classes,
			     struct chipboot_publisher *publisher,
			     struct chipboot_observer *observer, long pid)
{
	PyTypeObject *of_publisher = (void *)PyTuple_GetItem(classes, 0);
	PyTypeObject *of_observer = (void *)PyTuple_GetItem(classes, 1);
	PyObject *first = (PyObject *)new_handle(of_publisher, publisher,
						 close_publisher);
	PyObject *second = (PyObject *)new_handle(of_observer, observer,
						  close_observer);

	if (!first || !second) {
		Py_XDECREF(first);
		Py_XDECREF(second);
		return NULL;
	}
	return Py_BuildValue("(lNN)", pid, first, second);
}

/* What os.fork() does around fork(2), around chipboot_fork(). */
static PyObject *session_fork(PyObject *self, PyObject *args)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	PyObject *classes;
	uint32_t channel, events;
	int death_signal;
	void *it;
	pid_t pid;

	if (!PyArg_ParseTuple(args, "O!O&iO&:_fork", &PyTuple_Type, &classes,
			      as_u32, &channel, &death_signal, as_u32, &events))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	PyOS_BeforeFork();
	pid = chipboot_fork(it, channel, death_signal, events, &publisher,
			    &observer);
	if (pid == 0)
		PyOS_AfterFork_Child();
	else
		PyOS_AfterFork_Parent();
	leave((struct handle *)self);
	if (pid < 0)
		return fail(pid);
	if (pid > 0)
		return Py_BuildValue("(lOO)", (long)pid, Py_None, Py_None);
	return two_handles(classes, publisher, observer, 0);
}

/*
 * The publisher is one that claim() gave, before the fork: its Python object is
 * among @publishers.
 */
static PyObject *session_child(PyObject *self, PyObject *args)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	PyObject *class, *publishers, *second;
	uint32_t channel, events;
	int death_signal;
	Py_ssize_t i;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O!O!O&iO&:_child", &PyType_Type, &class,
			      &PyList_Type, &publishers, as_u32, &channel,
			      &death_signal, as_u32, &events))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	ret = chipboot_session_child(it, channel, death_signal, events,
				     &publisher, &observer);
	leave((struct handle *)self);
	if (ret < 0)
		return fail(ret);
	second = (PyObject *)new_handle((PyTypeObject *)class, observer,
					close_observer);
	for (i = 0; second && i < PyList_Size(publishers); i++) {
		PyObject *first = PyList_GetItem(publishers, i);

		if (((struct handle *)first)->it == publisher)
			return Py_BuildValue("(ON)", first, second);
	}
	Py_XDECREF(second);
	if (second)
		PyErr_SetString(PyExc_RuntimeError,
				"the channel's publisher has no object");
	return NULL;
}

static PyObject *session_reset(PyObject *self, PyObject *args)
{
	uint32_t first, count;
	int keep;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O&O&p:_reset", as_u32, &first, as_u32,
			      &count, &keep))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	ret = chipboot_session_reset(it, first, count,
				     keep ? CHIPBOOT_KEEP_PUBLISHERS : 0);
	leave((struct handle *)self);
	return none_or_fail(ret);
}

static PyObject *session_abort(PyObject *self, PyObject *args)
{
	uint32_t first, count;
	PyObject *text;
	int code;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O&O&iO&:_abort", as_u32, &first, as_u32,
			      &count, &code, encode, &text))
		return NULL;
	it = enter((struct handle *)self);
	if (!it) {
		Py_DECREF(text);
		return NULL;
	}
	ret = chipboot_session_abort(it, first, count, code,
				     PyBytes_AsString(text));
	leave((struct handle *)self);
	Py_DECREF(text);
	return ret < 0 ? fail(ret) : PyLong_FromLong(ret);
}

static PyObject *session_detach(PyObject *self, PyObject *unused)
{
	void *it = enter((struct handle *)self);
	int ret;

	(void)unused;
	if (!it)
		return NULL;
	ret = chipboot_session_detach(it);
	leave((struct handle *)self);
	return none_or_fail(ret);
}

static PyObject *session_deadline(PyObject *self, PyObject *args)
{
	uint64_t ns;
	int absolute;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O&p:_deadline", as_u64, &ns, &absolute))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	ret = absolute ? chipboot_session_set_deadline_at(it, ns) :
			 chipboot_session_set_deadline(it, ns);
	leave((struct handle *)self);
	return none_or_fail(ret);
}

static PyMethodDef session_methods[] = {
	OBSERVING_METHODS,
	{ "fileno", session_fileno, METH_NOARGS,
	  "The descriptor to poll: readable when no channel is idle." },
	{ "_claim", session_claim, METH_VARARGS, NULL },
	{ "_fork", session_fork, METH_VARARGS, NULL },
	{ "_child", session_child, METH_VARARGS, NULL },
	{ "_reset", session_reset, METH_VARARGS, NULL },
	{ "_abort", session_abort, METH_VARARGS, NULL },
	{ "_deadline", session_deadline, METH_VARARGS, NULL },
	{ "detach", session_detach, METH_NOARGS,
	  "Give up ownership for good: nobody sees a hang-up, no death signal." },
	{ 0 }
};

/* ---- Observer ---- */

static PyObject *observer_fileno(PyObject *self, PyObject *unused)
{
	struct chipboot_observer *observer = enter_observer(self);
	int fd;

	(void)unused;
	if (!observer)
		return NULL;
	fd = chipboot_observer_fd(observer);
	leave((struct handle *)self);
	return PyLong_FromLong(fd);
}

static PyObject *observer_from_fd(PyObject *class, PyObject *args)
{
	struct chipboot_observer *observer;
	int fd;
	int ret;

	if (!PyArg_ParseTuple(args, "i:_from_fd", &fd))
		return NULL;
	ret = cb_observer_wrap(fd, &observer);
	if (ret < 0)
		return fail(ret);
	return (PyObject *)new_handle((PyTypeObject *)class, observer,
				      close_observer);
}

static PyMethodDef observer_methods[] = {
	OBSERVING_METHODS,
	{ "fileno", observer_fileno, METH_NOARGS,
	  "The descriptor to poll: readable while one of its events holds." },
	{ "_from_fd", observer_from_fd, METH_VARARGS | METH_CLASS, NULL },
	{ 0 }
};

/* ---- Publisher ---- */

static PyObject *publisher_fileno(PyObject *self, PyObject *unused)
{
	void *it = enter((struct handle *)self);
	int fd;

	(void)unused;
	if (!it)
		return NULL;
	fd = chipboot_publisher_fd(it);
	leave((struct handle *)self);
	return fd < 0 ? fail(-EBADF) : PyLong_FromLong(fd);
}

static PyObject *publisher_from_fd(PyObject *class, PyObject *args)
{
	struct chipboot_publisher *publisher;
	int fd;
	int ret;

	if (!PyArg_ParseTuple(args, "i:_from_fd", &fd))
		return NULL;
	ret = cb_publisher_wrap(fd, &publisher);
	if (ret < 0)
		return fail(ret);
	return (PyObject *)new_handle((PyTypeObject *)class, publisher,
				      close_publisher);
}

static PyObject *publisher_bind(PyObject *self, PyObject *args)
{
	int pid, death_signal;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "ii:_bind", &pid, &death_signal))
		return NULL;
	it = enter((struct handle *)self);
	if (!it)
		return NULL;
	ret = chipboot_publisher_bind(it, pid, death_signal);
	leave((struct handle *)self);
	return none_or_fail(ret);
}

static PyObject *publisher_refresh(PyObject *self, PyObject *unused)
{
	void *it = enter((struct handle *)self);
	int ret;

	(void)unused;
	if (!it)
		return NULL;
	ret = chipboot_publisher_refresh(it);
	leave((struct handle *)self);
	return none_or_fail(ret);
}

static PyObject *publisher_success(PyObject *self, PyObject *args)
{
	uint64_t ctx, base, size;
	PyObject *sequence;
	uint64_t *words;
	Py_ssize_t count;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "O&O&O&O:_publish_success", as_u64, &ctx,
			      as_u64, &base, as_u64, &size, &sequence))
		return NULL;
	words = as_words(sequence, &count);
	if (!words)
		return NULL;
	it = enter((struct handle *)self);
	if (!it) {
		PyMem_Free(words);
		return NULL;
	}
	/* The kernel says what is wrong with more than fit. */
	Py_BEGIN_ALLOW_THREADS
	ret = chipboot_publish_success(it, ctx, base, size, words,
				       count > UINT32_MAX ? UINT32_MAX : count);
	Py_END_ALLOW_THREADS
	leave((struct handle *)self);
	PyMem_Free(words);
	return none_or_fail(ret);
}

static PyObject *publisher_error(PyObject *self, PyObject *args)
{
	PyObject *text;
	int code;
	void *it;
	int ret;

	if (!PyArg_ParseTuple(args, "iO&:_publish_error", &code, encode, &text))
		return NULL;
	it = enter((struct handle *)self);
	if (!it) {
		Py_DECREF(text);
		return NULL;
	}
	ret = chipboot_publish_error(it, code, PyBytes_AsString(text));
	leave((struct handle *)self);
	Py_DECREF(text);
	return none_or_fail(ret);
}

static PyObject *publisher_progress(PyObject *self, PyObject *text)
{
	PyObject *bytes;
	void *it;
	int ret;

	if (!encode(text, &bytes))
		return NULL;
	it = enter((struct handle *)self);
	if (!it) {
		Py_DECREF(bytes);
		return NULL;
	}
	ret = chipboot_progress(it, PyBytes_AsString(bytes));
	leave((struct handle *)self);
	Py_DECREF(bytes);
	return none_or_fail(ret);
}

static PyObject *publisher_info(PyObject *self, PyObject *unused)
{
	void *it = enter((struct handle *)self);
	struct chipboot_info info;
	int ret;

	(void)unused;
	if (!it)
		return NULL;
	ret = chipboot_publisher_info(it, &info);
	leave((struct handle *)self);
	return ret < 0 ? fail(ret) : info_tuple(&info);
}

static PyObject *publisher_channel(PyObject *self, void *generation)
{
	void *it = enter((struct handle *)self);
	uint32_t number;

	if (!it)
		return NULL;
	number = generation ? chipboot_publisher_generation(it) :
			      chipboot_publisher_channel(it);
	leave((struct handle *)self);
	return PyLong_FromUnsignedLong(number);
}

static PyMethodDef publisher_methods[] = {
	{ "fileno", publisher_fileno, METH_NOARGS,
	  "The descriptor to poll: readable when no channel is idle." },
	{ "_from_fd", publisher_from_fd, METH_VARARGS | METH_CLASS, NULL },
	{ "_bind", publisher_bind, METH_VARARGS, NULL },
	{ "refresh", publisher_refresh, METH_NOARGS,
	  "Go on in the channel's new generation, after reset(keep=True)." },
	{ "_publish_success", publisher_success, METH_VARARGS, NULL },
	{ "_publish_error", publisher_error, METH_VARARGS, NULL },
	{ "progress", publisher_progress, METH_O,
	  "Say what is being done, until the channel is answered." },
	{ "_info", publisher_info, METH_NOARGS, NULL },
	{ "close", handle_close, METH_NOARGS,
	  "Close this copy; the last one of an idle channel makes it an error." },
	{ 0 }
};

static PyGetSetDef publisher_getset[] = {
	{ "closed", handle_closed, NULL, "True after close().", NULL },
	{ "channel", publisher_channel, NULL, "Which channel.", NULL },
	{ "generation", publisher_channel, NULL,
	  "The generation it publishes in.", &publisher_getset },
	{ 0 }
};

/* ---- the mailbox ---- */

struct mailbox {
	PyObject_HEAD
	struct chipboot_mailbox box;	/* page NULL: of a channel of @source */
	struct handle *source;
	uint32_t channel;
};

static int set_mailbox(struct chipboot_mailbox *box, void *page, Py_ssize_t max)
{
	int ret;

	if (!page) {
		PyErr_SetString(PyExc_ValueError, "mailbox must not be null");
		return -1;
	}
	if (max < 0) {
		PyErr_SetString(PyExc_ValueError,
				"max_buffer_count must not be negative");
		return -1;
	}
	if (max > CHIPBOOT_MAILBOX_PTR_CAPACITY) {
		PyErr_SetString(PyExc_ValueError,
				"max_buffer_count exceeds CHIP_BOOTSTRAP_PTR_CAPACITY");
		return -1;
	}
	ret = chipboot_mailbox_init(box, page, max);
	if (ret < 0) {
		char text[512];

		PyErr_SetString(PyExc_ValueError,
				chipboot_explain(ret, text, sizeof(text)));
		return -1;
	}
	return 0;
}

static PyObject *mailbox_new(PyTypeObject *type, PyObject *args, PyObject *keys)
{
	static char *names[] = { "mailbox_ptr", "max_buffer_count", NULL };
	allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	struct chipboot_mailbox box;
	struct mailbox *mailbox;
	PyObject *address;
	Py_ssize_t max;
	uint64_t page;

	if (!PyArg_ParseTupleAndKeywords(args, keys, "On:ChipBootstrapChannel",
					 names, &address, &max))
		return NULL;
	if (!as_u64(address, &page) || set_mailbox(&box, (void *)page, max) < 0)
		return NULL;
	mailbox = (struct mailbox *)alloc(type, 0);
	if (mailbox)
		mailbox->box = box;
	return (PyObject *)mailbox;
}

/* A read-only mailbox over a session's page: its address is looked up each time. */
static PyObject *mailbox_over(PyObject *class, PyObject *args)
{
	PyTypeObject *type = (PyTypeObject *)class;
	allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	struct chipboot_observer *observer;
	const struct chipboot_answer *page;
	struct chipboot_mailbox box;
	struct mailbox *mailbox;
	PyObject *source;
	Py_ssize_t max;
	uint32_t channel;

	if (!PyArg_ParseTuple(args, "OO&n:_over", &source, as_u32, &channel,
			      &max))
		return NULL;
	if (!PyType_IsSubtype(Py_TYPE(source), session_type) &&
	    !PyType_IsSubtype(Py_TYPE(source), observer_type)) {
		PyErr_SetString(PyExc_TypeError,
				"the page is of a Session or an Observer");
		return NULL;
	}
	observer = enter_observer(source);
	if (!observer)
		return NULL;
	page = chipboot_page(observer, channel);
	leave((struct handle *)source);
	if (!page)
		return fail(cb_error(CB_READ, -ENOENT));
	if (set_mailbox(&box, (void *)page, max) < 0)
		return NULL;
	mailbox = (struct mailbox *)alloc(type, 0);
	if (!mailbox)
		return NULL;
	box.page = NULL;
	mailbox->box = box;
	mailbox->channel = channel;
	Py_INCREF(source);
	mailbox->source = (struct handle *)source;
	return (PyObject *)mailbox;
}

static void mailbox_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	Py_CLEAR(((struct mailbox *)self)->source);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* The mailbox to read, entered; false with an exception set. */
static bool look(PyObject *self, struct chipboot_mailbox *box)
{
	struct mailbox *mailbox = (struct mailbox *)self;
	struct chipboot_observer *observer;

	*box = mailbox->box;
	if (!mailbox->source)
		return true;
	observer = enter_observer((PyObject *)mailbox->source);
	if (!observer)
		return false;
	box->page = (void *)chipboot_page(observer, mailbox->channel);
	return true;
}

static void looked(PyObject *self)
{
	struct mailbox *mailbox = (struct mailbox *)self;

	if (mailbox->source)
		leave(mailbox->source);
}

/* True if the mailbox is plain memory. */
static bool writable(PyObject *self)
{
	if (!((struct mailbox *)self)->source)
		return true;
	PyErr_SetString(PyExc_TypeError,
			"a session's page is read-only: the publisher answers, the owner resets");
	return false;
}

static PyObject *mailbox_reset(PyObject *self, PyObject *unused)
{
	(void)unused;
	if (!writable(self))
		return NULL;
	chipboot_mailbox_reset(&((struct mailbox *)self)->box);
	Py_RETURN_NONE;
}

static PyObject *mailbox_write_success(PyObject *self, PyObject *args,
				       PyObject *keys)
{
	static char *names[] = {
		"device_ctx", "local_window_base", "actual_window_size",
		"buffer_ptrs", NULL
	};
	struct chipboot_mailbox *box = &((struct mailbox *)self)->box;
	uint64_t ctx, base, size;
	PyObject *sequence;
	uint64_t *words;
	Py_ssize_t count;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, keys, "O&O&O&O:write_success",
					 names, as_u64, &ctx, as_u64, &base,
					 as_u64, &size, &sequence) ||
	    !writable(self))
		return NULL;
	words = as_words(sequence, &count);
	if (!words)
		return NULL;
	ret = chipboot_mailbox_write_success(box, ctx, base, size, words,
					     count);
	PyMem_Free(words);
	if (ret == -EOVERFLOW) {
		PyErr_SetString(PyExc_ValueError,
				"buffer_ptrs exceeds max_buffer_count");
		return NULL;
	}
	return none_or_fail(ret);
}

static PyObject *mailbox_write_error(PyObject *self, PyObject *args,
				     PyObject *keys)
{
	static char *names[] = { "error_code", "message", NULL };
	PyObject *text;
	int code;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, keys, "iO&:write_error", names,
					 &code, encode, &text))
		return NULL;
	if (!writable(self)) {
		Py_DECREF(text);
		return NULL;
	}
	ret = chipboot_mailbox_write_error(&((struct mailbox *)self)->box, code,
					   PyBytes_AsString(text),
					   PyBytes_Size(text));
	Py_DECREF(text);
	return none_or_fail(ret);
}

static PyObject *mailbox_state(PyObject *self, PyObject *unused)
{
	struct chipboot_mailbox box;
	int ret;

	(void)unused;
	if (!look(self, &box))
		return NULL;
	ret = chipboot_mailbox_state(&box);
	looked(self);
	return ret < 0 ? fail(ret) : PyLong_FromLong(ret);
}

static PyObject *mailbox_error_code(PyObject *self, void *unused)
{
	struct chipboot_mailbox box;
	int32_t code;

	(void)unused;
	if (!look(self, &box))
		return NULL;
	code = chipboot_mailbox_error_code(&box);
	looked(self);
	return PyLong_FromLong(code);
}

static PyObject *mailbox_number(PyObject *self, void *which)
{
	uint64_t (*read)(const struct chipboot_mailbox *box) =
		*(uint64_t (**)(const struct chipboot_mailbox *))which;
	struct chipboot_mailbox box;
	uint64_t number;

	if (!look(self, &box))
		return NULL;
	number = read(&box);
	looked(self);
	return PyLong_FromUnsignedLongLong(number);
}

static PyObject *mailbox_buffer_ptrs(PyObject *self, PyObject *unused)
{
	uint64_t words[CHIPBOOT_MAILBOX_PTR_CAPACITY];
	struct chipboot_mailbox box;
	int ret;

	(void)unused;
	if (!look(self, &box))
		return NULL;
	ret = chipboot_mailbox_buffer_ptrs(&box, words,
					   CHIPBOOT_MAILBOX_PTR_CAPACITY);
	looked(self);
	return ret < 0 ? fail(ret) : from_words(words, ret);
}

static PyObject *mailbox_error_message(PyObject *self, void *unused)
{
	char text[CHIPBOOT_MAILBOX_MESSAGE_SIZE];
	struct chipboot_mailbox box;
	int ret;

	(void)unused;
	if (!look(self, &box))
		return NULL;
	ret = chipboot_mailbox_error_message(&box, text, sizeof(text));
	looked(self);
	return ret < 0 ? fail(ret) : decode(text, ret);
}

static PyMethodDef mailbox_methods[] = {
	{ "reset", mailbox_reset, METH_NOARGS, "Make it IDLE and all zero." },
	{ "write_success", (PyCFunction)(void (*)(void))mailbox_write_success,
	  METH_VARARGS | METH_KEYWORDS, "Publish: the chip is up." },
	{ "write_error", (PyCFunction)(void (*)(void))mailbox_write_error,
	  METH_VARARGS | METH_KEYWORDS, "Publish: it is not." },
	{ "_state", mailbox_state, METH_NOARGS, NULL },
	{ "_buffer_ptrs", mailbox_buffer_ptrs, METH_NOARGS, NULL },
	{ "_over", mailbox_over, METH_VARARGS | METH_CLASS, NULL },
	{ 0 }
};

static uint64_t (*const read_ctx)(const struct chipboot_mailbox *) =
	chipboot_mailbox_device_ctx;
static uint64_t (*const read_base)(const struct chipboot_mailbox *) =
	chipboot_mailbox_local_window_base;
static uint64_t (*const read_size)(const struct chipboot_mailbox *) =
	chipboot_mailbox_actual_window_size;

static PyGetSetDef mailbox_getset[] = {
	{ "error_code", mailbox_error_code, NULL, "Code of an ERROR.", NULL },
	{ "device_ctx", mailbox_number, NULL, "Of a SUCCESS.",
	  (void *)&read_ctx },
	{ "local_window_base", mailbox_number, NULL, "Of a SUCCESS.",
	  (void *)&read_base },
	{ "actual_window_size", mailbox_number, NULL, "Of a SUCCESS.",
	  (void *)&read_size },
	{ "error_message", mailbox_error_message, NULL,
	  "Message of an ERROR, else empty.", NULL },
	{ 0 }
};

/* ---- the module ---- */

static PyObject *from_env(PyObject *module, PyObject *args)
{
	struct chipboot_publisher *publisher;
	struct chipboot_observer *observer;
	PyObject *classes;
	int ret;

	(void)module;
	if (!PyArg_ParseTuple(args, "O!:from_env", &PyTuple_Type, &classes))
		return NULL;
	ret = chipboot_from_env(&publisher, &observer);
	if (ret < 0)
		return fail(ret);
	return two_handles(classes, publisher, observer, 0);
}

static PyMethodDef module_methods[] = {
	{ "from_env", from_env, METH_VARARGS, NULL },
	{ 0 }
};

static PyObject *no_new(PyTypeObject *type, PyObject *args, PyObject *keys)
{
	(void)type;
	(void)args;
	(void)keys;
	PyErr_SetString(PyExc_TypeError,
			"made by a session (claim, observe, fork) or from_env()");
	return NULL;
}

static PyTypeObject *add_type(PyObject *module, const char *name, int size,
			      PyType_Slot *slots)
{
	PyType_Spec spec = {
		.name = name,
		.basicsize = size,
		.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
		.slots = slots,
	};
	PyObject *type = PyType_FromSpec(&spec);

	if (!type)
		return NULL;
	Py_INCREF(type);	/* one for the module, one for us */
	if (PyModule_AddObject(module, strrchr(name, '.') + 1, type) < 0) {
		Py_DECREF(type);
		Py_DECREF(type);
		return NULL;
	}
	return (PyTypeObject *)type;
}

#define SLOTS(new_, dealloc_, methods_, getset_) ((PyType_Slot[]) { \
	{ Py_tp_new, new_ }, \
	{ Py_tp_dealloc, dealloc_ }, \
	{ Py_tp_methods, methods_ }, \
	{ Py_tp_getset, getset_ }, \
	{ 0, NULL } })

static int add_error(PyObject *module, const char *name, const char *doc,
		     PyObject *bases, PyObject **class)
{
	*class = PyErr_NewExceptionWithDoc(name, doc, bases, NULL);
	if (!*class)
		return -1;
	Py_INCREF(*class);
	return PyModule_AddObject(module, strrchr(name, '.') + 1, *class);
}

static int add_all(PyObject *module)
{
	PyObject *bases;

	if (add_error(module, "chipboot.Error",
		      "What libchipboot refuses: errno, and what to do about it.",
		      PyExc_OSError, &error_class) < 0)
		return -1;
	bases = PyTuple_Pack(2, error_class, PyExc_ValueError);
	if (!bases || add_error(module, "chipboot.ProtocolError",
				"A page holds what no publisher can have written.",
				bases, &protocol_error_class) < 0)
		return -1;
	Py_DECREF(bases);
	session_type = add_type(module, "chipboot._chipboot.Session",
				sizeof(struct handle),
				SLOTS(session_new, handle_dealloc,
				      session_methods, handle_getset));
	publisher_type = add_type(module, "chipboot._chipboot.Publisher",
				  sizeof(struct handle),
				  SLOTS(no_new, handle_dealloc,
					publisher_methods, publisher_getset));
	observer_type = add_type(module, "chipboot._chipboot.Observer",
				 sizeof(struct handle),
				 SLOTS(no_new, handle_dealloc,
				       observer_methods, handle_getset));
	mailbox_type = add_type(module, "chipboot._chipboot.Mailbox",
				sizeof(struct mailbox),
				SLOTS(mailbox_new, mailbox_dealloc,
				      mailbox_methods, mailbox_getset));
	if (!session_type || !publisher_type || !observer_type || !mailbox_type)
		return -1;
	return PyModule_AddIntConstant(module, "MAILBOX_SIZE",
				       CHIPBOOT_MAILBOX_SIZE) ||
	       PyModule_AddIntConstant(module, "PTR_CAPACITY",
				       CHIPBOOT_MAILBOX_PTR_CAPACITY) ||
	       PyModule_AddStringConstant(module, "VERSION", CHIPBOOT_RELEASE) ?
	       -1 : 0;
}

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "chipboot._chipboot",
	.m_doc = "The C half of chipboot; use the package.",
	.m_size = -1,
	.m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__chipboot(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (!module)
		return NULL;
	if (pthread_atfork(NULL, NULL, in_forked_child)) {
		Py_DECREF(module);
		return PyErr_NoMemory();
	}
	if (add_all(module) < 0) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
