"""Draw the plots of the page, with one file for each kind.

Each function computes in pixels where the lines, dots and labels go, and the template turns them into SVG. A plot is
only made where it shows something that the table does not.
"""
