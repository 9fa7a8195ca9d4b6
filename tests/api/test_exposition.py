from commonhold.api.exposition import Metric, histogram, labelled, text


def test_a_histogram_counts_what_is_at_most_its_bounds() -> None:
    shown = text([histogram("depth", "Depths.", {1: 2, 3: 1, 100: 1}, (1, 4))])

    assert shown.splitlines() == [
        "# HELP depth Depths.",
        "# TYPE depth histogram",
        'depth_bucket{le="1"} 2',
        'depth_bucket{le="4"} 3',
        'depth_bucket{le="+Inf"} 4',
        "depth_sum 105",
        "depth_count 4",
    ]


def test_labels_are_escaped() -> None:
    odd: Metric = labelled("n", "gauge", "Odd.", "host", {'a"b\\c\nd': 1})

    assert text([odd]).splitlines()[2] == r'n{host="a\"b\\c\nd"} 1'
