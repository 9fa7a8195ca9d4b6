// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettings} from "./interfaces/ISettings.sol";

/// @title Settings: what the timelock may change, how far and how fast
/// @notice A contract says what its settings are by the four hooks at the end, each of which asks `super` for the names
/// that it does not know itself.
abstract contract Settings is ISettings {
    /// One slot a setting.
    struct Course {
        uint128 pending;
        uint48 pendingAt;
        uint48 nextChangeAt;
        bool abdicated;
    }

    uint48 internal constant LOOSEN_DELAY = 14 days;
    uint48 private constant PERIOD = 90 days;
    /// Stands for the members of a quorum in `abdicate` and `isAbdicated`; it has no value.
    bytes32 internal constant SIGNERS = "signers";

    /// @inheritdoc ISettings
    address public immutable timelock;

    mapping(bytes32 name => mapping(bytes32 subject => Course)) private _courses;

    modifier onlyTimelock() {
        _checkTimelock();
        _;
    }

    constructor(address timelock_) {
        timelock = timelock_;
    }

    /// @inheritdoc ISettings
    function change(bytes32 name, bytes32 subject, uint256 value) external onlyTimelock {
        (uint256 from, bool lowerIsTighter) = _checkChange(name, subject, value);
        Course storage course = _courses[name][subject];

        // Whichever way the new value goes, it takes the place of one that waits.
        _drop(name, subject, course);
        if ((value < from) == lowerIsTighter) {
            _apply(name, subject, value, course);
            return;
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        course.pending = uint128(value); // no bound is that large
        course.pendingAt = uint48(block.timestamp) + LOOSEN_DELAY;

        emit SettingScheduled(name, subject, value, course.pendingAt);
    }

    /// @inheritdoc ISettings
    function enact(bytes32 name, bytes32 subject) external {
        Course storage course = _courses[name][subject];
        (uint128 value, uint48 readyAt) = (course.pending, course.pendingAt);
        if (readyAt == 0) revert NothingPending(name, subject);
        if (block.timestamp < readyAt) revert NotYet(name, readyAt, block.timestamp);
        // Again: a bound can depend on what has changed since, such as the number of signers.
        _checkChange(name, subject, value);

        (course.pending, course.pendingAt) = (0, 0);
        _apply(name, subject, value, course);
    }

    /// @inheritdoc ISettings
    function cancel(bytes32 name, bytes32 subject) external onlyTimelock {
        Course storage course = _courses[name][subject];
        if (course.pendingAt == 0) revert NothingPending(name, subject);

        _drop(name, subject, course);
    }

    /// @inheritdoc ISettings
    function abdicate(bytes32 name, bytes32 subject) external onlyTimelock {
        if (!_hasSigners(name, subject)) _rule(name, subject); // known, or reverts
        _checkNotAbdicated(name, subject);

        Course storage course = _courses[name][subject];
        course.abdicated = true;

        _drop(name, subject, course);
        emit Abdicated(name, subject);
    }

    /// @inheritdoc ISettings
    function settingOf(bytes32 name, bytes32 subject) external view returns (Setting memory setting) {
        Course memory course = _courses[name][subject];
        (setting.min, setting.max, setting.step, setting.lowerIsTighter) = _rule(name, subject);
        setting.value = _read(name, subject);
        setting.pending = course.pending;
        setting.pendingAt = course.pendingAt;
        setting.nextChangeAt = course.nextChangeAt;
        setting.abdicated = course.abdicated;
    }

    /// @inheritdoc ISettings
    function settings() external view returns (bytes32[] memory names, bytes32[] memory subjects) {
        return _settings();
    }

    /// @inheritdoc ISettings
    function isAbdicated(bytes32 name, bytes32 subject) external view returns (bool) {
        return _courses[name][subject].abdicated;
    }

    /// For a constructor, after it has written a value: what a deployment starts with obeys the bounds as well.
    function _checkBounds(bytes32 name, bytes32 subject) internal view {
        (uint256 min, uint256 max,,) = _rule(name, subject);
        uint256 value = _read(name, subject);
        if (value < min || value > max) revert OutOfBounds(name, value, min, max);
    }

    function _checkTimelock() internal view {
        if (msg.sender != timelock) revert OnlyTimelock(msg.sender);
    }

    function _checkNotAbdicated(bytes32 name, bytes32 subject) internal view {
        if (_courses[name][subject].abdicated) revert SettingAbdicated(name, subject);
    }

    function _checkChange(bytes32 name, bytes32 subject, uint256 value)
        private
        view
        returns (uint256 from, bool lowerIsTighter)
    {
        uint256 min;
        uint256 max;
        uint256 step;
        (min, max, step, lowerIsTighter) = _rule(name, subject);
        from = _read(name, subject);
        uint48 nextChangeAt = _courses[name][subject].nextChangeAt;
        _checkNotAbdicated(name, subject);
        if (value == from) revert SameValue(name, value);
        if (value < min || value > max) revert OutOfBounds(name, value, min, max);
        if (value > from ? value - from > step : from - value > step) revert StepTooLarge(name, from, value, step);
        if (block.timestamp < nextChangeAt) revert TooSoon(name, nextChangeAt, block.timestamp);
    }

    function _apply(bytes32 name, bytes32 subject, uint256 value, Course storage course) private {
        // From when a value works, not from when it was announced: else two steps could come within days of each other.
        course.nextChangeAt = uint48(block.timestamp) + PERIOD;
        _write(name, subject, value);

        emit SettingChanged(name, subject, value);
    }

    function _drop(bytes32 name, bytes32 subject, Course storage course) private {
        if (course.pendingAt == 0) return;

        (course.pending, course.pendingAt) = (0, 0);

        emit SettingCancelled(name, subject);
    }

    /// The bounds, the most that a change may move it by, and which way is tighter; asked before the two below, and reverts
    /// with UnknownSetting. Bounds are below 2^128.
    function _rule(bytes32 name, bytes32 subject)
        internal
        view
        virtual
        returns (uint256 min, uint256 max, uint256 step, bool lowerIsTighter);

    function _read(bytes32 name, bytes32 subject) internal view virtual returns (uint256 value);

    function _write(bytes32 name, bytes32 subject, uint256 value) internal virtual;

    /// All settings, by name and subject.
    function _settings() internal view virtual returns (bytes32[] memory names, bytes32[] memory subjects);

    /// Whether this names the members of a quorum that the contract has.
    function _hasSigners(bytes32 name, bytes32 subject) internal view virtual returns (bool);
}
