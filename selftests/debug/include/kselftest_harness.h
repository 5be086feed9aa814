/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What selftests/unit uses of the kselftest harness, by KUnit.
 */
#ifndef DEBUG_KSELFTEST_HARNESS_H
#define DEBUG_KSELFTEST_HARNESS_H

#define FIXTURE(fixture)						\
struct fixture

#define FIXTURE_SETUP(fixture)						\
static void fixture##_setup(struct kunit *test, struct fixture *self);	\
static int fixture##_init(struct kunit *test)				\
{									\
	test->priv = kunit_kzalloc(test, sizeof(struct fixture),	\
				   GFP_KERNEL);				\
	if (!test->priv)						\
		return -ENOMEM;						\
	fixture##_setup(test, test->priv);				\
	return 0;							\
}									\
static void fixture##_setup(struct kunit *test, struct fixture *self)

#define FIXTURE_TEARDOWN(fixture)					\
static void fixture##_teardown(struct kunit *test, struct fixture *self); \
static void fixture##_exit(struct kunit *test)				\
{									\
	fixture##_teardown(test, test->priv);				\
}									\
static void fixture##_teardown(struct kunit *test, struct fixture *self)

#define TEST_F(fixture, name)						\
static void fixture##_do_##name(struct kunit *test, struct fixture *self); \
static void fixture##_##name(struct kunit *test)			\
{									\
	fixture##_do_##name(test, test->priv);				\
}									\
static void fixture##_do_##name(struct kunit *test, struct fixture *self)

#define TEST_HARNESS_MAIN

#define EXPECT_EQ(expected, seen)	KUNIT_EXPECT_EQ(test, expected, seen)
#define ASSERT_EQ(expected, seen)	KUNIT_ASSERT_EQ(test, expected, seen)
#define EXPECT_LE(least, seen)		KUNIT_EXPECT_LE(test, least, seen)
#define EXPECT_TRUE(seen)		KUNIT_EXPECT_TRUE(test, seen)
#define ASSERT_TRUE(seen)		KUNIT_ASSERT_TRUE(test, seen)
#define EXPECT_FALSE(seen)		KUNIT_EXPECT_FALSE(test, seen)
#define EXPECT_STREQ(expected, seen)	KUNIT_EXPECT_STREQ(test, expected, seen)

#endif
