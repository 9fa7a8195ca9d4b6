// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IMembers} from "./interfaces/IMembers.sol";
import {Standing} from "./interfaces/Types.sol";

/// @title Groups: the tree of controllers, and who had a vote when
/// @notice The half of Members that every transfer and every vote reads.
abstract contract Groups is IMembers {
    using Checkpoints for Checkpoints.Trace208;

    /// One slot: a transfer reads it for each side. `until` is zero once the member was replaced, and never before;
    /// `counted` is true for a root that is among the groups.
    struct Member {
        address controller;
        uint40 since;
        uint40 until;
        bool counted;
        bool refusesGifts;
    }

    mapping(address account => Member) internal _members;
    /// @inheritdoc IMembers
    mapping(address account => address) public successorOf;
    /// When the account last got a controller. Who loses it starts anew (`since`), so that no older time matters.
    mapping(address account => uint256) private _controlledSince;
    Checkpoints.Trace208 private _groups;

    /// @inheritdoc IMembers
    function rootsOf(address from, address to)
        external
        view
        returns (address fromRoot, address toRoot, Standing standing)
    {
        address controller = _members[from].controller;
        fromRoot = from;
        if (controller != address(0)) {
            // Only who was replaced has a time to start and none to end; its successor is its controller.
            if (_members[from].until == 0) revert Replaced(from, controller);
            fromRoot = rootOf(controller);
        }
        Member storage receiver = _members[to];
        uint256 until;
        bool refuses;
        (controller, until, refuses) = (receiver.controller, receiver.until, receiver.refusesGifts); // one read of the slot
        toRoot = controller == address(0) ? to : rootOf(controller);
        if (until > block.timestamp) standing = refuses ? Standing.REFUSING : Standing.ACTIVE;
    }

    /// @inheritdoc IMembers
    function pathOf(address account) external view returns (address[] memory) {
        return _pathOf(account);
    }

    /// @inheritdoc IMembers
    function rootOf(address account) public view returns (address) {
        // One hop, or more where a root with members of its own was attached: joining never loops over members.
        for (address controller; (controller = _members[account].controller) != address(0);) {
            account = controller;
        }
        return account;
    }

    /// @inheritdoc IMembers
    function isActive(address account) public view returns (bool) {
        return _members[account].until > block.timestamp;
    }

    /// @inheritdoc IMembers
    function memberOf(address account)
        external
        view
        returns (address controller, uint48 since, uint48 until, bool refusesGifts)
    {
        Member memory member = _members[account];
        return (member.controller, member.since, member.until, member.refusesGifts);
    }

    /// @inheritdoc IMembers
    function getPastVotes(address account, uint256 timepoint) external view returns (uint256) {
        _checkPast(timepoint);
        Member memory member = _members[account];
        // Also false for who was replaced, and for who is not a member.
        if (member.until <= block.timestamp || member.since > timepoint) return 0;
        // Only a root gets a controller: before that moment it was one, without a break since `since`.
        if (member.controller != address(0) && _controlledSince[account] <= timepoint) return 0;
        return 1;
    }

    /// @inheritdoc IMembers
    function getPastTotalSupply(uint256 timepoint) external view returns (uint256) {
        _checkPast(timepoint);
        // forge-lint: disable-next-line(unsafe-typecast)
        return _groups.upperLookupRecent(uint48(timepoint)); // before now
    }

    /// @inheritdoc IMembers
    function groups() public view returns (uint256) {
        return _groups.latest();
    }

    /// @inheritdoc IMembers
    function clock() public view returns (uint48) {
        return uint48(block.timestamp);
    }

    /// @inheritdoc IMembers
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=timestamp";
    }

    function _control(address account, address controller) internal {
        _members[account].controller = controller;
        _controlledSince[account] = block.timestamp;
    }

    /// Takes a root into the number of groups, or out of it; where it is so already, nothing changes.
    function _count(address root, bool counted) internal {
        if (_members[root].counted == counted) return;

        _members[root].counted = counted;
        // forge-lint: disable-next-line(unsafe-typecast)
        _groups.push(clock(), uint208(counted ? groups() + 1 : groups() - 1)); // as many as accounts at most
    }

    function _known(address account) internal view returns (Member storage member) {
        member = _members[account];
        if (member.since == 0) revert NotMember(account);
    }

    /// A member, and not one that was replaced.
    function _standing(address account) internal view returns (Member storage member) {
        member = _known(account);
        if (member.until == 0) revert Replaced(account, member.controller);
    }

    function _pathOf(address account) internal view returns (address[] memory path) {
        uint256 length = 1;
        for (address a = account; (a = _members[a].controller) != address(0);) {
            ++length;
        }

        path = new address[](length);
        for (uint256 i; i < length; ++i) {
            path[i] = account;
            account = _members[account].controller;
        }
    }

    function _checkPast(uint256 timepoint) private view {
        if (timepoint >= block.timestamp) revert NotPast(timepoint, block.timestamp);
    }
}
